"""The end, however it comes: callbacks all run, and nothing waits for what cannot come."""

import asyncio
import gc
import logging
import os

import threading
import time

import pytest

from conftest import START
from devstack import ProcessManager


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("odd")])
def test_what_is_no_failure_is_raised_once_all_callbacks_have_run(error):
    called = []
    manager = ProcessManager("worker")
    manager.start()

    @manager.add_cleanup_callback
    def raises():
        raise error

    manager.add_cleanup_callback(lambda: called.append(1))
    with pytest.raises(type(error)):
        manager.shutdown()
    assert called == [1] and not manager.running
    manager.start()
    assert manager.should_continue()
    manager.shutdown()


def test_a_callback_that_was_cancelled_by_itself_is_a_failure_like_any_other(caplog):
    called = []
    with ProcessManager("worker") as manager, caplog.at_level(logging.ERROR, "devstack"):

        @manager.add_cleanup_callback
        def cancelled():
            raise asyncio.CancelledError

        manager.add_cleanup_callback(lambda: called.append(1))
    assert called == [1] and "failed" in caplog.text


ENDINGS = {
    "a task that is cancelled when the loop ends": """
async def worker():
    with manager: await manager.sleep(600)
async def main():
    task = asyncio.create_task(worker())
    await asyncio.sleep(0.05)
asyncio.run(main())
""",
    "a loop that is closed without asking anybody": """
async def main():
    manager.start()
    manager.shutdown()
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
""",
    "a main that returns at once": """
async def main():
    manager.start()
    manager.shutdown()
asyncio.run(main())
""",
    "a main that fails": """
async def main():
    with manager: raise SystemExit(0)
asyncio.run(main())
""",
    "another loop that awaits it": """
async def main():
    manager.start()
    manager.shutdown()
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
async def again(): await manager.shutdown()
asyncio.run(again())
""",
    "no loop at all": """
manager.start()
manager.shutdown()
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_async_callbacks_run_whichever_way_the_loop_ends(program, ending):
    worker = program(START + """
async def first():
    await asyncio.sleep(0.05)
    print("first")
async def third():
    print("third", manager.running)
manager.add_cleanup_callback(first)
manager.add_cleanup_callback(lambda: print("second"))
manager.add_cleanup_callback(third)
import atexit
""" + ENDINGS[ending])
    code, out, err = worker.end()
    assert (code, out) == (0, "first\nsecond\nthird True\n"), err


def test_a_callback_may_await_the_end_and_add_another_callback():
    called = []

    async def main():
        manager = ProcessManager("worker")
        manager.start()

        @manager.add_cleanup_callback
        async def awaits():
            manager.add_cleanup_callback(lambda: called.append("added"))
            await manager.shutdown()
            called.append("awaited")

        begun = time.monotonic()
        await manager.shutdown()
        assert called == ["awaited", "added"] and time.monotonic() - begun < 10

    asyncio.run(main())


def test_whoever_swallows_its_cancellation_does_not_hold_up_the_end(caplog):
    async def main():
        manager = ProcessManager("worker", grace_period_seconds=0.1)
        manager.start()

        @manager.add_cleanup_callback
        async def stubborn():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    if time.monotonic() > begun + 5:
                        raise

        begun = time.monotonic()
        await manager.shutdown()
        assert time.monotonic() - begun < 4 and not manager.running
        begun -= 10

    with caplog.at_level(logging.ERROR, "devstack"):
        asyncio.run(main())
    assert "did not end within 0.1 s" in caplog.text


def test_asked_by_a_signal_handler_an_idle_loop_begins_at_once(program):
    worker = program(START + """
async def callback():
    print("cleaned up")
async def main():
    manager.add_cleanup_callback(callback)
    manager.start()
    signal.signal(signal.SIGUSR1, lambda *_: manager.shutdown())
    print("started")
    await asyncio.sleep(60)
asyncio.run(main())
""")
    assert worker.line() == "started"
    worker.send(10)
    assert worker.line() == "cleaned up"
    worker.process.kill()


def test_whoever_waits_sees_the_end_although_the_next_life_has_begun():
    manager = ProcessManager("worker")
    for _ in range(20):
        manager.start()
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(manager.wait(20)))
        waiting.start()
        until_it_is_in_poll(waiting)
        manager.shutdown()
        manager.start()
        waiting.join()
        assert answers == [True]
        manager.shutdown()


def test_a_quick_restart_leaves_one_thread():
    before = threading_count()
    manager = ProcessManager("worker")
    for _ in range(50):
        manager.start()
        manager.shutdown()
    manager.start()
    end = time.monotonic() + 20
    while threading_count() > before + 1 and time.monotonic() < end:
        pass
    assert threading_count() == before + 1
    manager.shutdown()


def until_it_is_in_poll(thread):
    end = time.monotonic() + 10
    where = None
    while where != "do_sys_poll" and time.monotonic() < end:
        with open(f"/proc/self/task/{thread.native_id}/syscall") as syscall:
            # 7: poll(2), on x86-64.
            where = "do_sys_poll" if syscall.read().startswith("7 ") else None


def threading_count():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("Threads:")).split()[1])


def test_what_is_no_number_of_seconds_is_refused_and_leaks_nothing():
    with ProcessManager("worker") as manager:
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for odd in ("5", None, object(), 10**400, float("nan")):
            with pytest.raises((TypeError, ValueError, OverflowError)):
                manager.wait(odd)
            with pytest.raises((TypeError, ValueError, OverflowError)):
                asyncio.run(manager.sleep(odd))
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("key", ["max_runtime_hours", "memory_limit_mb", "cpu_limit_percent", "heartbeat_timeout_seconds", "grace_period_seconds"])
def test_a_limit_that_is_none_is_refused_at_once(key):
    for odd, error in ((-1, ValueError), (float("nan"), ValueError), ("5", TypeError), ([], TypeError)):
        with pytest.raises(error):
            ProcessManager("worker", **{key: odd})
    assert getattr(ProcessManager("worker", **{key: 0}), key) == 0


