"""A worker with a real spawn pool: `pool.py NAME KIND`. Told to stop, it leaves without a word to its pool."""

import concurrent.futures
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing import synchronize


def note_semaphores(folder):
    """The name of each semaphore, before it is made: a file that says whose it was."""
    make = synchronize.SemLock._make_name

    def make_and_note():
        name = make()
        with open(os.path.join(folder, name.lstrip("/")), "w") as file:
            file.write(os.environ.get("DEVSTACK_RUN", ""))
        return name

    synchronize.SemLock._make_name = staticmethod(make_and_note)


def member(queue, lock):
    queue.put(os.getpid())
    while True:
        with lock:
            pass
        time.sleep(1)


def square(number):
    time.sleep(0.01)
    return number * number


def leave_the_tree():
    """A grandchild in a session of its own that heeds no SIGTERM, with an environment that says nothing."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.execve("/bin/sleep", ["sleep", "86400"], {})
        os._exit(0)
    os.wait()


def main():
    name, kind = sys.argv[1], sys.argv[2]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if folder := os.environ.get("CHAOS_SEMAPHORES"):
        note_semaphores(folder)
    context = multiprocessing.get_context("spawn")
    work = lambda: time.sleep(3600)
    if kind in ("process", "daemon"):
        if kind == "daemon":
            leave_the_tree()
        queue, lock = context.Queue(), context.Lock()
        children = [context.Process(target=member, args=(queue, lock)) for _ in range(2)]
        for child in children:
            child.start()
        for _ in children:
            queue.get()
    elif kind == "pool":
        pool = context.Pool(2)
        pool.map(square, range(4))
    elif kind == "executor":
        executor = concurrent.futures.ProcessPoolExecutor(2, mp_context=context)
        list(executor.map(square, range(4)))

        def work():
            # Ends with an exception once a member was killed.
            executor.submit(square, 7).result()
            time.sleep(0.5)

    if folder := os.environ.get("CHAOS_READY"):
        with open(os.path.join(folder, os.environ["DEVSTACK_RUN"].replace("/", " ")), "w"):
            pass
    print(name, "started", flush=True)
    while True:
        try:
            work()
        except concurrent.futures.BrokenExecutor:
            os._exit(3)


if __name__ == "__main__":
    main()
