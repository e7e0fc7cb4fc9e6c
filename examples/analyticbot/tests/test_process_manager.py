import os
import signal
import threading
import time

import pytest
from conftest import eventually

from apps.shared import process_manager
from apps.shared.process_manager import ProcessManager


def test_a_run_from_start_to_end():
    manager = ProcessManager("probe")
    assert manager.is_healthy() == (False, "not_running")
    assert not manager.should_continue()
    with manager:
        assert manager.running and manager.should_continue()
        assert manager.is_healthy() == (True, "healthy")
        assert manager.end_time is None
    assert not manager.running and not manager.should_continue()
    assert manager.end_time >= manager.start_time
    assert manager.is_healthy() == (False, "not_running")
    with pytest.raises(RuntimeError):
        manager.start()


def test_should_continue_does_not_block():
    with ProcessManager("probe", max_runtime_hours=1, memory_limit_mb=4096, cpu_limit_percent=100) as manager:
        began = time.monotonic()
        for _ in range(1000):
            assert manager.should_continue()
        assert time.monotonic() - began < 0.5


def test_the_first_reason_to_stop_stays():
    with ProcessManager("probe") as manager:
        manager.request_shutdown("signal_SIGTERM")
        manager.request_shutdown("later")
        assert manager.shutdown_requested and manager.shutdown_reason == "signal_SIGTERM"
        assert manager.is_healthy() == (False, "shutdown_requested_signal_SIGTERM")
        assert not manager.should_continue()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_wakes_the_sleeper(number):
    before = signal.getsignal(number)
    with ProcessManager("probe") as manager:
        timer = threading.Timer(0.1, os.kill, (os.getpid(), number))
        timer.start()
        began = time.monotonic()
        assert manager.wait(60)
        assert time.monotonic() - began < 5
        assert manager.wait(60), "every later wait returns at once, too"
        assert manager.shutdown_reason == f"signal_{number.name}"
        timer.join()
    assert signal.getsignal(number) is before


def test_silence_is_a_missed_heartbeat():
    with ProcessManager("probe", heartbeat_timeout_seconds=0.05) as manager:
        eventually(lambda: manager.is_healthy() == (False, "heartbeat_timeout_0s"))
        manager.heartbeat()
        assert manager.is_healthy() == (True, "healthy")
        assert manager.should_continue(), "silence makes unhealthy; whoever watches decides"


def test_sleeping_on_purpose_is_not():
    with ProcessManager("probe", heartbeat_timeout_seconds=0.05) as manager:
        sleeper = threading.Thread(target=manager.wait, args=(60,))
        sleeper.start()
        end = time.monotonic() + 0.3
        eventually(lambda: manager.is_healthy()[0])
        while time.monotonic() < end:
            assert manager.is_healthy() == (True, "healthy")
        manager.request_shutdown("requested")
        sleeper.join(5)
        assert not sleeper.is_alive()


def test_max_runtime_ends_a_sleep_too():
    with ProcessManager("probe", max_runtime_hours=0.1 / 3600) as manager:
        assert manager.wait(60)
        assert manager.shutdown_reason.startswith("max_runtime_reached_")
        assert manager.get_remaining_runtime() == 0


def test_zero_is_no_limit():
    with ProcessManager("probe", max_runtime_hours=0, memory_limit_mb=0, cpu_limit_percent=0) as manager:
        assert manager.should_continue()
        assert manager.get_remaining_runtime() is None


def test_a_memory_limit_ends_the_run():
    with ProcessManager("probe", memory_limit_mb=1) as manager:
        assert not manager.should_continue()
        assert manager.shutdown_reason.startswith("memory_limit_exceeded_")
        assert manager.shutdown_reason.endswith("MB")


def test_a_cpu_limit_ends_the_run_once_the_window_is_full(monkeypatch):
    monkeypatch.setattr(process_manager, "SAMPLE_SECONDS", 0.02)
    with ProcessManager("probe", cpu_limit_percent=0.001) as manager:
        assert manager.should_continue()
        eventually(lambda: sum(range(10_000)) and not manager.should_continue())
        assert manager.shutdown_reason.startswith("cpu_limit_exceeded_")


def test_every_callback_runs_last_added_first(caplog):
    ran = []
    manager = ProcessManager("probe")
    manager.add_cleanup_callback(lambda: ran.append("first"))
    manager.add_cleanup_callback(lambda: 1 / 0)
    manager.add_cleanup_callback(lambda: ran.append("last"))
    manager.start()
    manager.shutdown()
    manager.shutdown()
    assert ran == ["last", "first"]
    assert "ZeroDivisionError" in caplog.text


def test_metrics():
    with ProcessManager("probe") as manager:
        metrics = manager.get_metrics()
        assert list(metrics) == [
            "pid", "name", "uptime_seconds", "cpu_percent", "memory_mb", "memory_percent", "num_threads", "status",
            "heartbeat_age_seconds",
        ]
        assert (metrics["pid"], metrics["name"], metrics["status"]) == (os.getpid(), "probe", "running")
        assert metrics["memory_mb"] > 1 and metrics["num_threads"] >= 1
