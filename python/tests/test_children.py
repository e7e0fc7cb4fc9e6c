"""Forks, children, and the service manager above, in processes of their own."""

import socket

import pytest

from conftest import START


def test_after_fork_each_process_has_its_own_life_and_limits_hold_in_both(program):
    worker = program(START + """
from devstack import HealthCheckServer
manager = ProcessManager("worker", max_runtime_hours=1.0 / 3600)
manager.start()
server = HealthCheckServer(0, manager)
server.start()
pid = os.fork()
if pid == 0:
    assert manager.should_continue()
    while not manager.wait(60): pass
    print("child:", manager.shutdown_reason.startswith("max_runtime_reached"), server.port > 0, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("parent:", manager.wait(60), manager.shutdown_reason.startswith("max_runtime_reached"))
again = HealthCheckServer(server.port, manager)
server.stop()
again.start()
again.stop()
""")
    assert worker.end()[:2] == (0, "child: True True\nparent: True True\n")
    worker = program(START + """
manager.start()
pid = os.fork()
if pid == 0:
    manager.request_shutdown("only the child")
    os._exit(0 if not manager.should_continue() else 1)
print(os.waitpid(pid, 0)[1], manager.should_continue(), manager.wait(0.1))
""")
    assert worker.end()[:2] == (0, "0 True False\n")


def test_in_a_spawn_child_it_works_as_anywhere(program):
    worker = program("""
import multiprocessing
from devstack import ProcessManager

def work(queue):
    with ProcessManager("child") as manager:
        manager.heartbeat()
        queue.put((manager.is_healthy(), manager.wait(0.1)))

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=work, args=(queue,))
    child.start()
    print(queue.get())
    child.join()
    print(child.exitcode)
""")
    assert worker.end()[:2] == (0, "((True, 'healthy'), False)\n0\n")


@pytest.fixture
def above(tmp_path):
    """A service manager that listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as above:
        above.bind(str(tmp_path / "notify"))
        above.settimeout(20)
        yield above


def heard(above):
    """The next word that is no sign of life."""
    while (word := above.recv(4096).decode()) == "WATCHDOG=1":
        pass
    return word


def hears_nothing(above, seconds):
    """Waits so long for a word."""
    above.settimeout(seconds)
    try:
        with pytest.raises(socket.timeout):
            print(above.recv(4096))
    finally:
        above.settimeout(20)


def test_a_service_manager_above_hears_of_start_life_and_stop(program, above):
    worker = program(
        START + """
manager.start()
while (line := sys.stdin.readline()) == "beat\\n":
    manager.heartbeat()
manager.wait(600)
manager.shutdown()
""",
        NOTIFY_SOCKET=above.getsockname(),
        WATCHDOG_USEC="400000",
    )
    assert above.recv(4096) == b"READY=1"
    assert above.recv(4096) == b"WATCHDOG=1", "that of the start"
    for _ in range(3):
        hears_nothing(above, 0.5)
        worker.tell("beat")
        assert above.recv(4096) == b"WATCHDOG=1"
    worker.tell("sleep on purpose")
    assert [above.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    worker.send()
    assert heard(above) == "STOPPING=1\nSTATUS=shutting down: signal_SIGTERM"
    assert worker.end()[0] == 0


def hears_of_nobody_else(above, worker, line):
    """Between the start and the end of the worker, which says this line once its child is gone."""
    assert above.recv(4096) == b"READY=1" and above.recv(4096) == b"WATCHDOG=1"
    assert worker.line() == line
    hears_nothing(above, 0.01)
    worker.tell("end")
    assert heard(above).startswith("STOPPING=1")
    assert worker.end()[0] == 0


CHILD = """
def work():
    with ProcessManager("child") as own:
        own.heartbeat()
        own.wait(1)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_does_not_speak_for_its_parent(program, above, method):
    worker = program(
        """
import multiprocessing, os, signal, sys
from devstack import ProcessManager
"""
        + CHILD
        + f"""
if __name__ == "__main__":
    manager = ProcessManager("worker")
    manager.start()
    child = multiprocessing.get_context("{method}").Process(target=work)
    child.start(); child.join()
    assert child.exitcode == 0
    print("child is gone")
    sys.stdin.readline()
    manager.shutdown()
""",
        NOTIFY_SOCKET=above.getsockname(),
        WATCHDOG_USEC="400000",
    )
    hears_of_nobody_else(above, worker, "child is gone")


def test_a_forked_child_does_not_speak_for_its_parent(program, above):
    worker = program(
        START + CHILD + """
manager.start()
if os.fork() == 0:
    work()
    for _ in range(10):
        manager.heartbeat()
        manager.wait(0.1)
    manager.shutdown()
    os._exit(0)
print(os.wait()[1])
sys.stdin.readline()
manager.shutdown()
""",
        NOTIFY_SOCKET=above.getsockname(),
        WATCHDOG_USEC="400000",
    )
    hears_of_nobody_else(above, worker, "0")


def test_a_program_that_a_worker_starts_does_not_speak_for_it(program, above, tmp_path):
    other = tmp_path / "other.py"
    other.write_text("from devstack import ProcessManager\nwith ProcessManager('other') as own: own.heartbeat()\n")
    worker = program(
        START + f"""
import subprocess
manager.start()
print(subprocess.run([sys.executable, {str(other)!r}]).returncode)
sys.stdin.readline()
manager.shutdown()
""",
        NOTIFY_SOCKET=above.getsockname(),
        WATCHDOG_USEC="400000",
    )
    hears_of_nobody_else(above, worker, "0")


def test_who_sleeps_in_the_parent_does_not_sleep_in_the_child(program):
    worker = program("""
import os, threading, time
from devstack import ProcessManager
manager = ProcessManager("worker", heartbeat_timeout_seconds=0.2)
manager.start()
threading.Thread(target=manager.wait, args=[600], daemon=True).start()
while manager.get_metrics()["heartbeat_age_seconds"]: pass
if os.fork() == 0:
    end = time.monotonic() + 20
    while manager.is_healthy()[0] and time.monotonic() < end: pass
    print(manager.is_healthy()[1].startswith("heartbeat_timeout"), flush=True)
    os._exit(0)
os.wait()
os._exit(0)
""")
    assert worker.end()[1] == "True\n"


def test_forks_while_others_answer_and_start_and_stop_leave_no_child_behind_and_no_port(program):
    worker = program(START + """
import threading, urllib.request, urllib.error
from devstack import HealthCheckServer
manager.start()
manager.request_shutdown("x" * 5000)
asked = HealthCheckServer(0, manager)
asked.start()
is_over = threading.Event()
def ask():
    while not is_over.is_set():
        try: urllib.request.urlopen(f"http://127.0.0.1:{asked.port}/health").read()
        except OSError: pass
def renew():
    server = HealthCheckServer(0, manager)
    while not is_over.is_set():
        server.start()
        server.stop()
threads = [threading.Thread(target=ask), threading.Thread(target=renew)]
for thread in threads: thread.start()
for _ in range(300):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if manager.shutdown_reason.startswith("xxx") and manager.is_healthy()[0] is False else 1)
    assert os.waitpid(pid, 0)[1] == 0
is_over.set()
for thread in threads: thread.join()
print("done")
manager.shutdown()
""")
    code, out, err = worker.end()
    assert out == "done\n", err
