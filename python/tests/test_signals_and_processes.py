"""Signals, event loops, forks and children, in processes of their own."""

import signal

START = """
import asyncio, logging, os, signal, sys, time
from devstack import ProcessManager
logging.basicConfig()
manager = ProcessManager("worker")
"""


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
    print("child:", manager.shutdown_reason.startswith("max_runtime_reached"), server._server is None, flush=True)
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


def test_a_service_manager_above_hears_of_start_life_and_stop(program, tmp_path):
    import socket

    above = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    above.bind(str(tmp_path / "notify"))
    above.settimeout(20)
    worker = program(
        START + """
manager.start()
for _ in range(3):
    manager.heartbeat()
    time.sleep(0.2)
print("quiet")
sys.stdin.readline() if False else time.sleep(1.2)
print("beats")
manager.wait(600)
manager.shutdown()
""",
        NOTIFY_SOCKET=str(tmp_path / "notify"),
        WATCHDOG_USEC="400000",
    )
    heard = [above.recv(4096).decode()]
    assert heard == ["READY=1"]
    assert worker.line() == "quiet"
    above.setblocking(False)
    drained = []

    def drain():
        try:
            while True:
                drained.append(above.recv(4096).decode())
        except BlockingIOError:
            pass

    drain()
    assert drained.count("WATCHDOG=1") >= 3
    drained.clear()
    assert worker.line() == "beats"
    drain()
    assert drained.count("WATCHDOG=1") <= 2, "who is silent does not feed it"
    above.settimeout(20)
    assert above.recv(4096) == b"WATCHDOG=1", "who sleeps on purpose does"
    worker.send()
    while (word := above.recv(4096).decode()) == "WATCHDOG=1":
        pass
    assert word == "STOPPING=1\nSTATUS=shutting down: signal_SIGTERM"
    assert worker.end()[0] == 0
