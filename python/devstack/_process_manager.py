"""``ProcessManager``: when a worker has to stop, whether it is well, and what it does last."""

import asyncio
import collections
import datetime
import os
import select
import sys
import time
import weakref

from . import _callbacks, _native
from ._signals import Signals


class ProcessManager(_native.Manager):
    """The life of one worker process. All of it may be used from any thread.

    :param name: shown in metrics and health.
    :param max_runtime_hours: after so long the worker is asked to stop (``max_runtime_reached_24h``).
    :param memory_limit_mb: resident memory of this process, MB of 1024 × 1024 bytes (``memory_limit_exceeded_2049MB``).
    :param cpu_limit_percent: of one core, mean of ten samples a second apart (``cpu_limit_exceeded_97%``).
    :param heartbeat_timeout_seconds: without ``heartbeat()`` for longer it is not healthy (``heartbeat_timeout_301s``).
    :param grace_period_seconds: for each async cleanup callback.

    ``None`` and 0 mean no such limit.
    """

    def __init__(
        self,
        name,
        max_runtime_hours=None,
        memory_limit_mb=None,
        cpu_limit_percent=None,
        heartbeat_timeout_seconds=300,
        grace_period_seconds=30,
    ):
        limits = {
            "max_runtime_hours": max_runtime_hours,
            "memory_limit_mb": memory_limit_mb,
            "cpu_limit_percent": cpu_limit_percent,
            "heartbeat_timeout_seconds": heartbeat_timeout_seconds,
            "grace_period_seconds": grace_period_seconds,
        }
        numbers = [_limit(key, value) for key, value in limits.items()]
        self.__dict__.update(limits)
        self._grace = numbers.pop()
        self._begin(str(name), *numbers[:3], numbers[3] or float("inf"), _is_child())
        self._cleanup = collections.deque()
        self._signals = Signals(self.request_shutdown)
        _living.add(self)

    def start(self):
        """Begin: time counts, limits hold, SIGTERM and SIGINT ask to stop, and whoever started this process hears ``READY=1``.

        A second call does nothing; after ``shutdown()`` it is a new life. In another thread than the main one, signals stay as they
        are.
        """
        if not self.running:
            self.__dict__.pop("_ending", None)
            # From here on a request holds: a signal may come before everything is there.
            self._renew()
            self._signals.hold()
            try:
                self._start()
            except BaseException:
                self._signals.give_back()
                raise
            if not _is_child():
                os.environ[_SPEAKER] = str(os.getpid())

    def add_cleanup_callback(self, callback):
        """Call ``callback()``, sync or async, in ``shutdown()``. Answers it, so that it may be a decorator."""
        self._cleanup.append(callback)
        return callback

    def shutdown(self):
        """The end: all cleanup callbacks run, in the order in which they were added; who fails is logged. Signals are what they were
        before.

        In an event loop, what comes from the first async callback on is a task of it: ``await manager.shutdown()`` waits for it, and
        without ``await`` it runs all the same. A second call begins nothing, and may be awaited as the first.
        """
        if not self.running:
            return self.__dict__.get("_ending") or _callbacks.Over()
        mine = _callbacks.Ending(self._cleanup, self._grace, self._end)
        # One operation: another thread, or a signal handler, may ask for the end between any two.
        ending = self.__dict__.setdefault("_ending", mine)
        if ending is mine:
            try:
                self.request_shutdown("shutdown")
            finally:
                ending.run()
        return ending

    def _end(self):
        self._finish()
        self._signals.give_back()

    def wait(self, seconds):
        """Sleep on purpose, which is no missed heartbeat. ``True``, at once, when it is time to stop."""
        seconds = _seconds(seconds)
        if not self.should_continue():
            return True
        end = time.monotonic() + seconds
        # One of its own, as in `sleep`; and the number may be another life's by the time that poll(2) looks it up again.
        descriptor = os.dup(self.fileno())
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        number = self._sleep(seconds)
        try:
            while True:
                left = end - time.monotonic()
                if poll.poll(min(max(0.0, left * 1000), _LONGEST_POLL)):
                    return True
                if left <= 0:
                    return False
        finally:
            self._wake(number)
            os.close(descriptor)

    async def sleep(self, seconds):
        """As ``wait``, for ``async`` code."""
        seconds = _seconds(seconds)
        if not self.should_continue():
            return True
        loop = asyncio.get_running_loop()
        stopped = loop.create_future()
        # One of its own: a loop knows one reader a descriptor.
        descriptor = os.dup(self.fileno())
        number = self._sleep(seconds)
        try:
            loop.add_reader(descriptor, lambda: stopped.done() or stopped.set_result(None))
            await asyncio.wait([stopped], timeout=max(0.0, seconds))
            return stopped.done()
        finally:
            self._wake(number)
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def idle_until(self, when):
        """No heartbeat is expected until ``when``: a ``datetime``, or seconds since the epoch as ``time.time()`` counts."""
        if isinstance(when, datetime.datetime):
            when = when.timestamp()
        self._idle_for(when - time.time())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.shutdown()

    async def __aenter__(self):
        self.start()
        return self

    async def __aexit__(self, *error):
        await self.shutdown()

    def __repr__(self):
        return f"<ProcessManager {self.name} {self.get_metrics()['status']}>"


# poll(2) takes milliseconds as an int: 24.8 days.
_LONGEST_POLL = 2**31 - 1

_living: "weakref.WeakSet[ProcessManager]" = weakref.WeakSet()
_is_forked = False

# In the environment of whatever a worker starts: who speaks to the service manager above for all of them.
_SPEAKER = "DEVSTACK_SPEAKER_PID"


def _limit(name, value):
    """A number above 0; ``None`` for ``None`` and 0."""
    if value is None:
        return None
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be a number or None, not {value!r}")
    number = float(value)
    if not number >= 0:
        raise ValueError(f"{name} must not be below 0, nor be no number: {value!r}")
    return number or None


def _seconds(value):
    if isinstance(value, (str, bytes)):
        raise TypeError(f"seconds must be a number, not {value!r}")
    seconds = float(value)
    if seconds != seconds:
        raise ValueError("seconds must be a number, not NaN")
    return seconds


def _is_child():
    """Of a worker that speaks to the service manager above for all of them."""
    process = sys.modules.get("multiprocessing.process")
    speaker = os.environ.get(_SPEAKER)
    is_another = speaker is not None and speaker != str(os.getpid())
    return _is_forked or is_another or (process is not None and process.parent_process() is not None)


def _after_fork():
    global _is_forked
    _is_forked = True
    for manager in _living:
        manager._continue_after_fork()


os.register_at_fork(after_in_child=_after_fork)
