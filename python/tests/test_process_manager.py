"""Every name of ProcessManager, its defaults and its words."""

import asyncio
import datetime
import inspect
import logging
import threading
import time

import psutil
import pytest

from devstack import ProcessManager


def wait_until(holds, seconds=20):
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < end, "it does not come true"
        pause.wait(0.01)


def test_arguments_and_defaults_are_those_of_the_original():
    parameters = inspect.signature(ProcessManager.__init__).parameters
    assert {name: it.default for name, it in parameters.items() if name not in ("self", "name")} == {
        "max_runtime_hours": None,
        "memory_limit_mb": None,
        "cpu_limit_percent": None,
        "heartbeat_timeout_seconds": 300,
        "grace_period_seconds": 30,
    }
    manager = ProcessManager("worker", 24, 2048, 80)
    assert (manager.name, manager.max_runtime_hours, manager.memory_limit_mb, manager.cpu_limit_percent) == ("worker", 24, 2048, 80)
    assert (manager.heartbeat_timeout_seconds, manager.grace_period_seconds) == (300, 30)


def test_a_life_from_new_to_stopped():
    manager = ProcessManager("worker", max_runtime_hours=24)
    assert (manager.running, manager.should_continue(), manager.start_time, manager.end_time) == (False, False, None, None)
    assert manager.is_healthy() == (False, "not_running")
    assert (manager.get_uptime(), manager.get_remaining_runtime()) == (0.0, 24 * 3600)
    before = time.time()
    manager.start()
    assert manager.running and manager.should_continue() and manager.is_healthy() == (True, "healthy")
    assert before - 0.01 <= manager.start_time <= time.time() + 0.01
    assert manager.end_time is None
    assert 0 <= manager.get_uptime() < 20 and 86380 < manager.get_remaining_runtime() <= 86400
    first = manager.start_time
    manager.start()
    assert manager.start_time == first, "a second start is harmless"
    manager.request_shutdown("enough")
    manager.request_shutdown("later")
    assert manager.running and not manager.should_continue()
    assert (manager.shutdown_requested, manager.shutdown_reason) == (True, "enough")
    assert manager.is_healthy() == (False, "shutdown_requested_enough")
    manager.shutdown()
    assert (manager.running, manager.is_healthy()) == (False, (False, "not_running"))
    assert before - 0.01 <= manager.end_time <= time.time() + 0.01
    uptime = manager.get_uptime()
    manager.shutdown()
    assert manager.get_uptime() == uptime
    manager.start()
    assert manager.should_continue() and manager.shutdown_reason is None, "another life"
    manager.shutdown()


def test_metrics_have_the_fields_of_the_original(manager):
    wait_until(lambda: manager.get_metrics()["cpu_percent"] is not None)
    metrics = manager.get_metrics()
    assert list(metrics) == [
        "pid",
        "name",
        "uptime_seconds",
        "cpu_percent",
        "memory_mb",
        "memory_percent",
        "num_threads",
        "status",
        "heartbeat_age_seconds",
    ]
    process = psutil.Process()
    assert metrics["pid"] == process.pid and metrics["name"] == "worker" and metrics["status"] == "running"
    assert metrics["memory_mb"] == pytest.approx(process.memory_info().rss / 2**20, rel=0.3)
    assert metrics["memory_percent"] == pytest.approx(process.memory_percent(), abs=0.3)
    assert metrics["num_threads"] >= 2 and 0 <= metrics["heartbeat_age_seconds"] < 20


def test_max_runtime_is_a_planned_end_at_its_moment():
    with ProcessManager("worker", max_runtime_hours=0.3 / 3600) as manager:
        assert manager.wait(20), "it is woken"
        assert manager.get_uptime() < 5
        assert manager.shutdown_reason == "max_runtime_reached_0.0001h"
    with ProcessManager("worker", max_runtime_hours=0, memory_limit_mb=0, cpu_limit_percent=0) as manager:
        assert manager.get_remaining_runtime() is None and not manager.wait(1.5), "0 is no limit"


def test_memory_above_its_limit_asks_to_stop():
    with ProcessManager("worker", memory_limit_mb=1) as manager:
        assert manager.wait(20)
        reason = manager.shutdown_reason
        assert reason.startswith("memory_limit_exceeded_") and reason.endswith("MB") and int(reason[22:-2]) > 5
        assert manager.is_healthy() == (False, "shutdown_requested_" + reason)


def test_a_processor_that_is_used_too_much_for_ten_samples_asks_to_stop():
    with ProcessManager("worker", cpu_limit_percent=20) as manager:
        begun = time.monotonic()
        while manager.should_continue() and time.monotonic() < begun + 30:
            sum(range(10_000))
        reason = manager.shutdown_reason
        assert reason.startswith("cpu_limit_exceeded_") and reason.endswith("%") and int(reason[19:-1]) > 20
        assert time.monotonic() - begun > 8, "one peak is not enough"


def test_a_heartbeat_that_stays_away_is_told_with_its_age():
    with ProcessManager("worker", heartbeat_timeout_seconds=1) as manager:
        wait_until(lambda: not manager.is_healthy()[0])
        assert manager.is_healthy() == (False, "heartbeat_timeout_1s")
        assert manager.should_continue(), "that is for somebody else to judge"
        manager.heartbeat()
        assert manager.is_healthy() == (True, "healthy")


def test_sleeping_on_purpose_is_no_missed_heartbeat():
    with ProcessManager("worker", heartbeat_timeout_seconds=0.2) as manager:
        seen = []
        watcher = threading.Thread(target=lambda: (threading.Event().wait(0.7), seen.append(manager.is_healthy())))
        watcher.start()
        assert not manager.wait(1.2)
        watcher.join()
        assert seen == [(True, "healthy")]
        for when in (time.time() + 60, datetime.datetime.now() + datetime.timedelta(minutes=1)):
            manager.idle_until(when)
            threading.Event().wait(0.4)
            assert manager.is_healthy()[0]
        manager.idle_until(0)
        wait_until(lambda: manager.is_healthy() == (False, "heartbeat_timeout_0s"), 5)


def test_who_wakes_does_not_wake_the_others():
    with ProcessManager("worker", heartbeat_timeout_seconds=0.2) as manager:
        long = threading.Thread(target=manager.wait, args=[60])
        long.start()
        assert not manager.wait(0.1)
        # Nobody but the sleeper is left, and it sleeps for longer than heartbeats may stay away.
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            assert manager.is_healthy() == (True, "healthy")
        manager.request_shutdown("enough")
        long.join()


def test_any_time_may_be_waited_for_and_a_limit_may_be_none():
    with ProcessManager("worker", heartbeat_timeout_seconds=None) as manager:
        for seconds in (30 * 24 * 3600, float("inf"), 1e300):
            threading.Timer(0.1, manager.request_shutdown, ["enough"]).start()
            assert manager.wait(seconds) is True
            assert asyncio.run(manager.sleep(seconds)) is True
            manager.shutdown()
            manager.start()
        for seconds in (0, -1):
            assert manager.wait(seconds) is False and asyncio.run(manager.sleep(seconds)) is False
        assert manager.is_healthy() == (True, "healthy")


def test_a_request_before_the_start_holds():
    manager = ProcessManager("worker")
    manager.request_shutdown("too early")
    assert (manager.shutdown_requested, manager.shutdown_reason, manager.running) == (True, "too early", False)
    manager.start()
    assert not manager.should_continue() and manager.wait(60) and manager.shutdown_reason == "too early"
    manager.shutdown()
    manager.request_shutdown("too late")
    manager.start()
    assert manager.should_continue() and manager.shutdown_reason is None
    manager.shutdown()


def test_a_second_shutdown_does_not_overtake_the_first():
    async def main():
        called = []
        manager = ProcessManager("worker")
        manager.start()

        @manager.add_cleanup_callback
        async def slow():
            await asyncio.sleep(0.1)
            called.append(manager.running)

        manager.shutdown()
        await manager.shutdown()
        assert called == [True] and not manager.running
        await manager.shutdown()
        manager.start()
        await manager.shutdown()
        assert called == [True] and not manager.running

    asyncio.run(main())


def test_a_callback_that_asks_for_the_end_again_changes_nothing():
    called = []
    manager = ProcessManager("worker")
    manager.start()
    for name in ("first", "second"):
        manager.add_cleanup_callback(lambda name=name: (called.append(name), manager.shutdown()))
    manager.shutdown()
    assert called == ["first", "second"] and not manager.running


def test_waiting_is_over_at_once_when_somebody_asks_to_stop(manager):
    threading.Timer(0.2, manager.request_shutdown, ["from another thread"]).start()
    begun = time.monotonic()
    assert manager.wait(60) is True and manager.wait(60) is True
    assert time.monotonic() - begun < 10 and manager.shutdown_reason == "from another thread"


def test_all_callbacks_run_and_failures_are_logged(caplog):
    called = []
    manager = ProcessManager("worker", grace_period_seconds=0.2)
    manager.start()

    @manager.add_cleanup_callback
    def fails():
        called.append("fails")
        raise RuntimeError("no connection")

    async def awaited():
        await asyncio.sleep(0)
        called.append("awaited")

    async def hangs():
        called.append("hangs")
        await asyncio.sleep(60)

    for callback in (hangs, awaited, lambda: called.append("sync"), lambda: awaited()):
        manager.add_cleanup_callback(callback)
    with caplog.at_level(logging.ERROR, "devstack"):
        manager.shutdown()
        manager.shutdown()
    assert called == ["fails", "hangs", "awaited", "sync", "awaited"]
    assert "no connection" in caplog.text and "did not end within 0.2 s" in caplog.text
    assert not manager.running


def test_a_subclass_may_have_arguments_of_its_own():
    class Mine(ProcessManager):
        def __init__(self):
            super().__init__("mine", max_runtime_hours=1)

        def should_continue(self):
            return super().should_continue() and not self.done

        done = False

    with Mine() as manager:
        assert manager.should_continue()
        manager.done = True
        assert not manager.should_continue()
    assert "mine stopped" in repr(manager)


def test_without_its_init_it_says_so():
    class Forgetful(ProcessManager):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="__init__ was not called"):
        Forgetful().heartbeat()
    assert Forgetful().should_continue() is False


def test_many_threads_may_use_it(manager):
    def work():
        for _ in range(20_000):
            manager.heartbeat()
            assert manager.should_continue()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert manager.is_healthy()[0]
