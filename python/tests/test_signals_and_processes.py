"""Signals and event loops, in processes of their own."""

import signal

from conftest import START


def test_sigterm_asks_and_the_worker_ends_well(program):
    worker = program(START + """
manager.add_cleanup_callback(lambda: print("cleaned up"))
manager.start()
print("started")
while manager.should_continue():
    manager.heartbeat()
    manager.wait(60)
print(manager.shutdown_reason)
manager.shutdown()
print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
""")
    assert worker.line() == "started"
    worker.send()
    assert worker.end()[:2] == (0, "signal_SIGTERM\ncleaned up\nTrue True\n")


def test_a_second_signal_ends_it_now(program):
    worker = program(START + """
manager.start()
print("started")
while True:
    time.sleep(0.05)
    if manager.shutdown_requested:
        print("asked")
        time.sleep(600)
""")
    assert worker.line() == "started"
    worker.send()
    assert worker.line() == "asked"
    worker.send()
    assert worker.end()[0] == -signal.SIGTERM


def test_an_earlier_handler_is_called_too_and_is_back_at_the_end(program):
    worker = program(START + """
def mine(number, frame): print("mine", number)
signal.signal(signal.SIGTERM, mine)
signal.signal(signal.SIGINT, signal.SIG_IGN)
manager.start()
print("started")
manager.wait(60)
manager.shutdown()
print(signal.getsignal(signal.SIGTERM) is mine, signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
""")
    assert worker.line() == "started"
    worker.send()
    assert worker.end()[:2] == (0, "mine 15\nTrue True\n")


def test_an_async_worker_wakes_at_once_and_its_loop_is_never_blocked(program):
    for number, name in ((signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")):
        worker = program(START + """
async def callback():
    await asyncio.sleep(0.05)
    print("awaited")

async def ticker(ticks):
    while True:
        ticks.append(1)
        await asyncio.sleep(0.01)

async def main():
    ticks = []
    task = asyncio.ensure_future(ticker(ticks))
    manager.add_cleanup_callback(callback)
    manager.start()
    assert not await manager.sleep(0.3)
    assert len(ticks) > 5
    print("started")
    sleepers = [manager.sleep(600) for _ in range(3)]
    assert await asyncio.gather(*sleepers) == [True] * 3
    print(manager.shutdown_reason)
    manager.shutdown()

asyncio.run(main())
""")
        assert worker.line() == "started"
        worker.send(number)
        code, out, err = worker.end()
        assert (code, out) == (0, f"signal_{name}\nawaited\n"), err


def test_shutdown_may_be_awaited_and_the_manager_used_as_an_async_context(program):
    worker = program(START + """
async def callback():
    await asyncio.sleep(0.05)
    print("awaited")

async def main():
    async with manager:
        manager.add_cleanup_callback(callback)
    print("after", manager.running)
    await manager.shutdown()

asyncio.run(main())
manager.start()
manager.add_cleanup_callback(callback)
manager.shutdown()
print("outside of a loop", manager.running)
""")
    assert worker.end()[:2] == (0, "awaited\nafter False\nawaited\noutside of a loop False\n")


def test_started_in_another_thread_it_leaves_signals_alone(program):
    worker = program(START + """
import threading
thread = threading.Thread(target=manager.start)
thread.start(); thread.join()
print(manager.should_continue(), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
manager.shutdown()
""")
    assert worker.end()[:2] == (0, "True True\n")


def test_ended_in_another_thread_it_begins_again_and_is_asked_once(program):
    worker = program(START + """
import threading
manager.start()
thread = threading.Thread(target=manager.shutdown)
thread.start(); thread.join()
manager.start()
print("started")
manager.wait(60)
print(manager.shutdown_reason)
manager.shutdown()
print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
""")
    assert worker.line() == "started"
    worker.send()
    assert worker.end()[:2] == (0, "signal_SIGTERM\nTrue\n")


def test_a_signal_that_nobody_wants_any_more_does_what_it_did_before(program):
    ended_elsewhere = """
import threading
manager.start()
thread = threading.Thread(target=manager.shutdown)
thread.start(); thread.join()
"""
    outer_first = """
inner = ProcessManager("inner")
manager.start(); inner.start()
manager.shutdown(); inner.shutdown()
"""
    for end in (ended_elsewhere, outer_first):
        worker = program(START + end + """
print("ended")
signal.pause()
""")
        assert worker.line() == "ended"
        worker.send()
        assert worker.end()[0] == -signal.SIGTERM
        worker = program(START + """
signal.signal(signal.SIGTERM, lambda number, frame: print("mine"))
""" + end + """
print("ended")
signal.pause()
""")
        assert worker.line() == "ended"
        worker.send()
        assert worker.end()[:2] == (0, "mine\n")


def test_all_managers_are_asked_whichever_ends_first(program):
    worker = program(START + """
first, second = ProcessManager("first"), ProcessManager("second")
manager.start(); first.start(); second.start()
first.shutdown()
print("started")
manager.wait(60), second.wait(60)
print(manager.shutdown_reason, second.shutdown_reason, first.shutdown_reason)
manager.shutdown(); second.shutdown()
print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
""")
    assert worker.line() == "started"
    worker.send()
    assert worker.end()[:2] == (0, "signal_SIGTERM signal_SIGTERM shutdown\nTrue\n")


def test_a_handler_that_came_later_and_chains_is_called_once_and_counts_once(program):
    worker = program(START + """
manager.start()
ours = signal.getsignal(signal.SIGTERM)
def later(number, frame):
    print("later")
    ours(number, frame)
signal.signal(signal.SIGTERM, later)
manager.shutdown()
print(signal.getsignal(signal.SIGTERM) is later)
manager.start()
print("started")
manager.wait(60)
print(manager.shutdown_reason)
manager.shutdown()
print(signal.getsignal(signal.SIGTERM) is later)
""")
    assert [worker.line(), worker.line()] == ["True", "started"]
    worker.send()
    assert worker.end()[:2] == (0, "later\nsignal_SIGTERM\nTrue\n")


def test_a_signal_between_two_lives_asks_the_second(program):
    worker = program(START + """
manager.start()
manager.shutdown()
hold = manager._signals.hold
manager._signals.hold = lambda: (hold(), os.kill(os.getpid(), signal.SIGTERM))
manager.start()
print(manager.wait(20), manager.shutdown_reason)
manager.shutdown()
""")
    assert worker.end()[:2] == (0, "True signal_SIGTERM\n")


def test_a_second_signal_ends_it_although_an_earlier_handler_takes_long(program):
    worker = program(START + """
def slow(*_):
    print("slow")
    time.sleep(600)
signal.signal(signal.SIGTERM, slow)
manager.start()
print("started")
manager.wait(600)
""")
    assert worker.line() == "started"
    worker.send()
    assert worker.line() == "slow"
    worker.send()
    assert worker.end()[0] == -signal.SIGTERM


def test_a_first_signal_after_another_one_is_no_second(program):
    worker = program(START + """
manager.add_cleanup_callback(lambda: print("cleaned up"))
with manager:
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
print(manager.shutdown_reason)
""")
    assert worker.end()[:2] == (0, "cleaned up\nsignal_SIGINT\n")
