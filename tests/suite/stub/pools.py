"""Pools of multiprocessing, living and dead: `pools.py leave|orphan|live|close FILE`. What they made stands in FILE, one path a line.

leave: everybody was killed at once, the resource tracker too. orphan: only the main process and the tracker. live: they go on.
close: a living process that knows a block of shared memory and a temp folder by nothing but their names.
"""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import resource_tracker, shared_memory, util


def idle(queue, lock):
    queue.put(os.getpid())
    time.sleep(600)


def make(file):
    spawn = multiprocessing.get_context("spawn")
    queue, lock = spawn.Queue(), spawn.Lock()
    children = [spawn.Process(target=idle, args=(queue, lock)) for _ in range(2)]
    for child in children:
        child.start()
    pids = [queue.get() for _ in children]
    block = shared_memory.SharedMemory(create=True, size=300_000)
    block.buf[:] = bytes(300_000)
    manager = multiprocessing.get_context("forkserver").Manager()
    paths = [f"/dev/shm/{name}" for name in os.listdir("/dev/shm")]
    paths += [f"{tempfile.gettempdir()}/{name}" for name in os.listdir(tempfile.gettempdir()) if name.startswith("pymp-")]
    tell(file, paths)
    globals()["kept"] = (queue, lock, children, block, manager)
    return pids


def close(file):
    block = shared_memory.SharedMemory(create=True, size=300_000)
    block.close()
    tell(file, [f"/dev/shm/{block.name}", util.get_temp_dir()])


def tell(file, lines):
    with open(file + ".new", "w") as new:
        new.write("".join(f"{line}\n" for line in sorted(lines)))
    os.rename(file + ".new", file)


def end(pids):
    """SIGKILL to all at once, and until the last of them has ended."""
    held = [os.pidfd_open(pid) for pid in pids]
    for one in held:
        signal.pidfd_send_signal(one, signal.SIGKILL)
    for one in held:
        select.select([one], [], [])


def group(leader):
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getpgid(int(name)) == leader:
                yield int(name)
        except ProcessLookupError:
            pass


def main(what, file):
    if what in ("leave", "orphan"):
        pool = subprocess.Popen([sys.executable, __file__, "live", file], start_new_session=True, stdout=subprocess.PIPE)
        tracker = int(pool.stdout.readline())
        end(list(group(pool.pid)) if what == "leave" else [pool.pid, tracker])
        pool.wait()
        return
    if what == "live":
        make(file)
    else:
        close(file)
    print(resource_tracker._resource_tracker._pid, flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
