import re
import socket

import pytest
from conftest import fetch

from apps.shared.health_server import HealthCheckServer
from apps.shared.process_manager import ProcessManager

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def manager():
    with ProcessManager("probe", max_runtime_hours=24, memory_limit_mb=2048) as manager:
        yield manager


@pytest.fixture
def port(manager):
    with HealthCheckServer(0, manager) as server:
        yield server.port


def test_a_well_process(port):
    status, body = fetch(port, "/health")
    assert TIMESTAMP.fullmatch(body.pop("timestamp"))
    assert (status, body) == (200, {"status": "healthy", "reason": "healthy"})

    status, body = fetch(port, "/ready")
    assert TIMESTAMP.fullmatch(body.pop("timestamp"))
    assert (status, body) == (200, {"ready": True, "reason": "healthy"})


def test_a_process_about_to_end(manager, port):
    manager.request_shutdown("requested")
    status, body = fetch(port, "/health?verbose=1")
    assert (status, body["status"], body["reason"]) == (503, "unhealthy", "shutdown_requested_requested")
    status, body = fetch(port, "/ready")
    assert (status, body["ready"], body["reason"]) == (503, False, "shutdown_requested_requested")
    assert fetch(port, "/metrics")[1]["health"] == {"is_healthy": False, "reason": "shutdown_requested_requested"}


def test_metrics(port):
    status, body = fetch(port, "/metrics")
    assert status == 200
    assert list(body) == ["metrics", "health", "runtime", "limits", "timestamp"]
    assert body["metrics"]["name"] == "probe"
    assert body["health"] == {"is_healthy": True, "reason": "healthy"}
    assert list(body["runtime"]) == ["uptime_hours", "remaining_hours"] and 23.9 < body["runtime"]["remaining_hours"] <= 24
    assert body["limits"] == {"max_runtime_hours": 24, "memory_limit_mb": 2048, "cpu_limit_percent": None}


def test_other_paths_and_methods(port):
    assert fetch(port, "/nothing")[0] == 404
    for method in ("POST", "PUT", "DELETE"):
        status, body = fetch(port, "/health", method)
        assert (status, body["error"]) == (405, "method_not_allowed")


def test_a_slow_client_delays_nobody(port):
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET /hea")
        assert fetch(port, "/health")[0] == 200


def test_a_taken_port_is_an_error_and_stop_frees_it(manager, port):
    with pytest.raises(OSError):
        HealthCheckServer(port, manager).start()
    server = HealthCheckServer(0, manager)
    server.start()
    server.stop()
    server.stop()
    with HealthCheckServer(server.port, manager):
        assert fetch(server.port, "/health")[0] == 200
