"""How a worker lives and ends: signals, limits, heartbeat, and one word for why it stopped.

The same names exist in the native `devstack` wheel; this module and `health_server` are the only ones to swap for it.
"""

from __future__ import annotations

import collections
import faulthandler
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

SAMPLE_SECONDS = 2.0
CPU_WINDOW_SAMPLES = 6  # five periods: the mean over ten seconds
MIB = 1024 * 1024
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
STDERR = 2


class ProcessManager:
    """Keeps one process within its limits and tells whether it is well.

    `max_runtime_hours`, `memory_limit_mb` (resident, 1024 × 1024 bytes) and `cpu_limit_percent` (of one core, mean over ten
    seconds) are off when None or 0, and concern this process without its children. Without a heartbeat for
    `heartbeat_timeout_seconds` it counts as hung. A shutdown that takes longer than `grace_period_seconds` writes the stack
    of every thread to stderr, once; 0 turns that off.

    `start_time` and `end_time` are seconds since the epoch, None until they happen.
    """

    def __init__(
        self,
        name: str,
        max_runtime_hours: float | None = None,
        memory_limit_mb: float | None = None,
        cpu_limit_percent: float | None = None,
        heartbeat_timeout_seconds: float = 300,
        grace_period_seconds: float = 30,
    ) -> None:
        self.name = name
        self.max_runtime_hours = max_runtime_hours or None
        self.memory_limit_mb = memory_limit_mb or None
        self.cpu_limit_percent = cpu_limit_percent or None
        self.heartbeat_timeout_seconds = heartbeat_timeout_seconds
        self.grace_period_seconds = grace_period_seconds

        self.running = False
        self.shutdown_requested = False
        self.shutdown_reason: str | None = None
        self.start_time: float | None = None
        self.end_time: float | None = None

        # A SimpleQueue may be fed from a signal handler; an Event may deadlock there.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._sampler: threading.Thread | None = None
        self._callbacks: list[Callable[[], Any]] = []
        self._previous_handlers: dict[int, Any] = {}
        self._started_at = 0.0
        self._uptime_at_end = 0.0
        self._heartbeat_at: float | None = None
        self._cpu_samples: collections.deque[tuple[float, float]] = collections.deque(maxlen=CPU_WINDOW_SAMPLES)
        self._memory_mb = 0.0
        self._threads = 0

    def start(self) -> None:
        """Begins the run: takes SIGTERM and SIGINT (in the main thread) and starts sampling.

        Raises RuntimeError when it was started before; one manager is one run.
        """
        if self.start_time is not None:
            raise RuntimeError(f"{self.name} was started before")
        self.start_time = time.time()
        self._started_at = time.monotonic()
        self.heartbeat()
        self._sample()
        self.running = True
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous_handlers[number] = signal.signal(number, self._on_signal)
        self._sampler = threading.Thread(target=self._keep_sampling, name="process-manager", daemon=True)
        self._sampler.start()

    def heartbeat(self) -> None:
        """Says that the work goes on."""
        self._heartbeat_at = time.monotonic()

    def should_continue(self) -> bool:
        """Whether to begin another piece of work. Never blocks."""
        self._enforce_limits()
        return self.running and not self.shutdown_requested

    def wait(self, seconds: float) -> bool:
        """Sleeps on purpose, which is not a missed heartbeat. Returns True, at once, when it is time to stop."""
        remaining = self.get_remaining_runtime()
        if remaining is not None:
            seconds = min(seconds, remaining)
        seconds = min(max(seconds, 0.0), threading.TIMEOUT_MAX)
        self._heartbeat_at = time.monotonic() + seconds
        try:
            self._wake.get(timeout=seconds)
            self._wake.put(None)  # for the next one who waits
        except queue.Empty:
            pass
        self.heartbeat()
        return not self.should_continue()

    def request_shutdown(self, reason: str) -> None:
        """Asks the run to end; the first reason stays. Safe in signal handlers and from any thread."""
        if self.shutdown_requested:
            return
        self.shutdown_reason = reason
        self.shutdown_requested = True
        self._wake.put(None)
        if self.grace_period_seconds > 0:
            faulthandler.dump_traceback_later(self.grace_period_seconds, file=STDERR)

    def add_cleanup_callback(self, callback: Callable[[], Any]) -> None:
        """Runs `callback()` in `shutdown()`, last added first."""
        self._callbacks.append(callback)

    def shutdown(self) -> None:
        """Ends the run: every clean-up callback runs, a failing one is logged. Calling it again does nothing."""
        if not self.running:
            return
        while self._callbacks:
            callback = self._callbacks.pop()
            try:
                callback()
            except Exception:
                log.exception("%s: clean-up %r failed", self.name, callback)
        self._uptime_at_end = self.get_uptime()
        self.end_time = time.time()
        self.running = False
        self._ended.set()
        self._wake.put(None)
        if self._sampler is not None:
            self._sampler.join()
        faulthandler.cancel_dump_traceback_later()
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        log.info("%s ended after %.1f s: %s", self.name, self.get_uptime(), self.shutdown_reason or "done")

    def __enter__(self) -> ProcessManager:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def get_uptime(self) -> float:
        """Seconds from start to now, or to the end."""
        if self.running:
            return time.monotonic() - self._started_at
        return self._uptime_at_end

    def get_remaining_runtime(self) -> float | None:
        """Seconds left of the maximal runtime; None without one."""
        if self.max_runtime_hours is None:
            return None
        return max(0.0, self.max_runtime_hours * 3600 - self.get_uptime())

    def is_healthy(self) -> tuple[bool, str]:
        """Whether all is well, and the reason in one word."""
        if not self.running:
            return False, "not_running"
        if self.shutdown_requested:
            return False, f"shutdown_requested_{self.shutdown_reason}"
        age = self._heartbeat_age()
        if age is not None and age > self.heartbeat_timeout_seconds:
            return False, f"heartbeat_timeout_{age:.0f}s"
        exceeded = self._exceeded_limit()
        return (False, exceeded) if exceeded else (True, "healthy")

    def get_metrics(self) -> dict[str, Any]:
        """This process in numbers; unknown is None. CPU and memory are at most two seconds old."""
        age = self._heartbeat_age()
        return {
            "pid": os.getpid(),
            "name": self.name,
            "uptime_seconds": round(self.get_uptime(), 1),
            "cpu_percent": round(self._cpu_percent(), 1),
            "memory_mb": round(self._memory_mb, 1),
            "memory_percent": round(100 * self._memory_mb * MIB / (os.sysconf("SC_PHYS_PAGES") * PAGE_SIZE), 1),
            "num_threads": self._threads,
            "status": self._status(),
            "heartbeat_age_seconds": None if age is None else round(age, 1),
        }

    def _status(self) -> str:
        if not self.running:
            return "stopped"
        return "stopping" if self.shutdown_requested else "running"

    def _on_signal(self, number: int, _frame: object) -> None:
        self.request_shutdown(f"signal_{signal.Signals(number).name}")

    def _heartbeat_age(self) -> float | None:
        return None if self._heartbeat_at is None else max(0.0, time.monotonic() - self._heartbeat_at)

    def _exceeded_limit(self) -> str | None:
        if self.get_remaining_runtime() == 0:
            return f"max_runtime_reached_{self.max_runtime_hours:g}h"
        if self.memory_limit_mb is not None and self._memory_mb > self.memory_limit_mb:
            return f"memory_limit_exceeded_{self._memory_mb:.0f}MB"
        # A short burst, such as the imports of a start, is not a mean over the window.
        window_is_full = len(self._cpu_samples) == CPU_WINDOW_SAMPLES
        if self.cpu_limit_percent is not None and window_is_full and self._cpu_percent() > self.cpu_limit_percent:
            return f"cpu_limit_exceeded_{self._cpu_percent():.0f}%"
        return None

    def _enforce_limits(self) -> None:
        exceeded = self._exceeded_limit()
        if exceeded and self.running:
            self.request_shutdown(exceeded)

    def _cpu_percent(self) -> float:
        if len(self._cpu_samples) < 2:
            return 0.0
        (first_at, first_cpu), (last_at, last_cpu) = self._cpu_samples[0], self._cpu_samples[-1]
        return 100 * (last_cpu - first_cpu) / (last_at - first_at)

    def _keep_sampling(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._sample()
            self._enforce_limits()

    def _sample(self) -> None:
        with open("/proc/self/stat", "rb") as stat:
            # The name before the last ")" may itself hold spaces and parentheses.
            fields = stat.read().rpartition(b")")[2].split()
        self._threads = int(fields[17])
        self._memory_mb = int(fields[21]) * PAGE_SIZE / MIB
        self._cpu_samples.append((time.monotonic(), time.process_time()))
