"""What `should_continue()` and `heartbeat()` cost a worker, beside the same written in Python with psutil.

`python benches/worker_library.py`, with the wheel and psutil installed. The median of seven rounds, interleaved; nanoseconds a call.
"""

import statistics
import time
import timeit

import psutil

from devstack import ProcessManager

ROUNDS = 7


class InPython:
    """The least that does the same: limits are looked at in each call, the processor's use since the last one (psutil's `interval=None`)."""

    def __init__(self, max_runtime_hours, memory_limit_mb, cpu_limit_percent):
        self.process = psutil.Process()
        self.limits = max_runtime_hours, memory_limit_mb, cpu_limit_percent
        self.start_time = self.last_heartbeat = time.monotonic()
        self.shutdown_requested = False

    def should_continue(self):
        hours, memory, cpu = self.limits
        if time.monotonic() - self.start_time > hours * 3600:
            self.shutdown_requested = True
        if self.process.memory_info().rss / 2**20 > memory:
            self.shutdown_requested = True
        if self.process.cpu_percent(None) > cpu:
            self.shutdown_requested = True
        return not self.shutdown_requested

    def heartbeat(self):
        self.last_heartbeat = time.monotonic()


def nanoseconds(call, number):
    return timeit.Timer(call).timeit(number) / number * 1e9


def nothing():
    pass


def main():
    ours, theirs = ProcessManager("bench", 24, 65536, 100_000), InPython(24, 65536, 100_000)
    ours.start()
    calls = {
        "an empty Python function": (nothing, 1_000_000),
        "devstack should_continue": (ours.should_continue, 1_000_000),
        "devstack heartbeat": (ours.heartbeat, 1_000_000),
        "psutil should_continue": (theirs.should_continue, 10_000),
        "psutil heartbeat": (theirs.heartbeat, 1_000_000),
    }
    taken = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, (call, number) in calls.items():
            taken[name].append(nanoseconds(call, number))
    for name, each in taken.items():
        print(f"{name:26} {statistics.median(each):10.0f} ns")
    ours.shutdown()


if __name__ == "__main__":
    main()
