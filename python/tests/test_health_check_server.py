"""HealthCheckServer: its three paths, and whoever asks."""

import ctypes
import errno
import os
import re
import socket
import statistics
import threading
import time

import pytest

from conftest import get
from devstack import HealthCheckServer, ProcessManager

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
def server(manager):
    with HealthCheckServer(0, manager) as server:
        yield server


def test_health_ready_and_metrics_are_those_of_the_original(manager, server):
    status, health = get(server.port, "/health")
    assert status == 200 and (health["status"], health["reason"]) == ("healthy", "healthy") and TIME.fullmatch(health["timestamp"])
    status, ready = get(server.port, "/ready")
    assert status == 200 and (ready["ready"], ready["reason"]) == (True, "ready") and list(ready) == ["ready", "reason", "timestamp"]
    status, all_of_it = get(server.port, "/metrics")
    assert status == 200 and list(all_of_it) == ["metrics", "health", "runtime", "limits", "timestamp"]
    assert all_of_it["metrics"]["pid"] == os.getpid() and all_of_it["metrics"]["name"] == "worker"
    assert all_of_it["health"] == {"is_healthy": True, "reason": "healthy"}
    assert all_of_it["runtime"]["remaining_hours"] is None
    assert all_of_it["limits"] == {"max_runtime_hours": None, "memory_limit_mb": None, "cpu_limit_percent": None}
    assert get(server.port, "/other")[0] == 404
    manager.request_shutdown("enough")
    status, health = get(server.port, "/health")
    assert (status, health["status"], health["reason"]) == (503, "unhealthy", "shutdown_requested_enough")
    assert get(server.port, "/ready")[0] == 503


def test_prometheus_gets_its_own_text(server):
    status, text = get(server.port, "/metrics", "text/plain")
    assert status == 200 and 'devstack_service_up{project="",service="worker"} 1\n' in text
    assert get(server.port, "/metrics?format=openmetrics")[1].endswith("# EOF\n")


def test_a_worker_stuck_in_c_with_the_gil_is_said_to_be_at_once():
    with ProcessManager("worker", heartbeat_timeout_seconds=1) as manager, HealthCheckServer(0, manager) as server:
        # Another process asks: nobody here can.
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            while get(server.port, "/health")[0] == 200:
                pass
            took = []
            for _ in range(9):
                begun = time.monotonic()
                status, health = get(server.port, "/health")
                took.append(time.monotonic() - begun)
            os.write(writer, f"{status} {health['reason']} {statistics.median(took)}".encode())
            os._exit(0)
        begun = time.monotonic()
        ctypes.PyDLL(None).sleep(4)
        assert time.monotonic() - begun > 3.5, "it held the GIL all the time"
        os.waitpid(pid, 0)
        status, reason, took = os.read(reader, 1000).decode().split()
        assert (status, reason) == ("503", "heartbeat_timeout_1s")
        print(f"answered in {float(took) * 1000:.1f} ms, the median of 9")
        assert float(took) < 0.05


def test_a_taken_port_names_its_holder(manager, server):
    with pytest.raises(OSError, match=rf"127.0.0.1:{server.port} is taken by pid {os.getpid()} \(") as caught:
        HealthCheckServer(server.port, manager).start()
    assert caught.value.errno == errno.EADDRINUSE


def test_start_and_stop_twice_are_harmless_and_the_port_is_free_afterwards(manager):
    server = HealthCheckServer(0, manager)
    server.start()
    port = server.port
    server.start()
    assert server.port == port and get(port, "/health")[0] == 200
    server.stop()
    server.stop()
    with pytest.raises(OSError):
        get(port, "/health")
    server.start()
    assert get(port, "/health")[0] == 200
    server.stop()


SLOW_CLIENTS = """
import resource, socket, sys
port, most = int(sys.stdin.readline()), 10_000
resource.setrlimit(resource.RLIMIT_NOFILE, (most + 100, max(most + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))

def slow():
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(b"GET /health HTTP/1.1\\r\\nX-Slow: ")
    client.setblocking(False)
    return client

clients = [slow() for _ in range(most)]
print(len(clients))
while True:
    for number, client in enumerate(clients):
        try:
            client.send(b"x")
        except OSError:
            client.close()
            clients[number] = slow()
    print("a byte each")
"""


def test_ten_thousand_clients_that_send_a_byte_now_and_then_change_nothing(manager, server, program):
    slow = program(SLOW_CLIENTS)
    slow.tell(str(server.port))
    assert slow.line() == "10000"
    assert slow.line() == "a byte each"
    took = []
    for _ in range(21):
        begun = time.monotonic()
        assert get(server.port, "/health")[0] == 200
        took.append(time.monotonic() - begun)
    print(f"beside 10,000 slow clients a fresh probe took {statistics.median(took) * 1000:.1f} ms, the median of 21")
    assert statistics.median(took) < 0.05
    assert slow.line() == "a byte each" and slow.process.poll() is None, "they were there all the time"
    assert manager.should_continue() and manager.is_healthy() == (True, "healthy")


def test_who_asks_by_another_name_or_to_change_something_is_refused(server):
    def first_line(request):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(request.encode())
            return client.makefile().readline().strip()

    assert first_line("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n").startswith("HTTP/1.1 421")
    assert first_line("POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").startswith("HTTP/1.1 405")


def test_it_may_be_asked_by_the_name_that_it_was_given(manager):
    name = socket.gethostname()
    with HealthCheckServer(0, manager, host=name) as server, socket.create_connection((name, server.port), timeout=20) as client:
        client.sendall(f"GET /health HTTP/1.1\r\nHost: {name}:{server.port}\r\n\r\n".encode())
        assert client.makefile().readline().startswith("HTTP/1.1 200")
    with HealthCheckServer(0, manager, host="0.0.0.0") as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: 203.0.113.7\r\n\r\n")
        assert client.makefile().readline().startswith("HTTP/1.1 200"), "through an address of somebody else's, as containers are asked"


def test_many_threads_may_start_it_and_an_address_that_is_none_of_ours_is_said_to_be(manager):
    server = HealthCheckServer(0, manager)
    failed = []

    def start():
        try:
            server.start()
        except OSError as error:
            failed.append(error)

    for _ in range(50):
        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.stop()
    assert failed == []
    with pytest.raises(OSError) as caught:
        HealthCheckServer(0, manager, host="203.0.113.7").start()
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_it_answers_while_another_thread_works(manager, server):
    stop = threading.Event()
    thread = threading.Thread(target=lambda: [sum(range(1000)) for _ in iter(stop.is_set, True)])
    thread.start()
    try:
        assert get(server.port, "/ready")[0] == 200
    finally:
        stop.set()
        thread.join()
