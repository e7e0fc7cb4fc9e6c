"""``ProcessManager``: when a worker has to stop, whether it is well, and what it does last."""

import asyncio
import datetime
import os
import select
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
        self.max_runtime_hours = max_runtime_hours
        self.memory_limit_mb = memory_limit_mb
        self.cpu_limit_percent = cpu_limit_percent
        self.heartbeat_timeout_seconds = heartbeat_timeout_seconds
        self.grace_period_seconds = grace_period_seconds
        limits = (float(limit) if limit else None for limit in (max_runtime_hours, memory_limit_mb, cpu_limit_percent))
        self._begin(str(name), *limits, float(heartbeat_timeout_seconds) or float("inf"))
        self._cleanup = []
        self._signals = Signals(self.request_shutdown)
        _living.add(self)

    def start(self):
        """Begin: time counts, limits hold, SIGTERM and SIGINT ask to stop, and whoever started this process hears ``READY=1``.

        A second call does nothing; after ``shutdown()`` it is a new life. In another thread than the main one, signals stay as they
        are.
        """
        if not self.running:
            self._signals.hold()
            self._start()

    def add_cleanup_callback(self, callback):
        """Call ``callback()``, sync or async, in ``shutdown()``. Answers it, so that it may be a decorator."""
        self._cleanup.append(callback)
        return callback

    def shutdown(self):
        """The end: all cleanup callbacks run, sync ones first; who fails is logged. Signals are what they were before.

        In an event loop async callbacks are a task of it: ``await manager.shutdown()`` waits for them, and without ``await`` they
        run all the same. A second call does nothing.
        """
        if not self.running:
            return _callbacks.Awaitable()
        self.request_shutdown("shutdown")
        callbacks, self._cleanup = self._cleanup, []
        return _callbacks.run(callbacks, self.grace_period_seconds or None, self._end)

    def _end(self):
        self._finish()
        self._signals.give_back()

    def wait(self, seconds):
        """Sleep on purpose, which is no missed heartbeat. ``True``, at once, when it is time to stop."""
        if not self.should_continue():
            return True
        self._idle_for(seconds)
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        stopped = poll.poll(max(0.0, seconds) * 1000)
        self._idle_is_over()
        return bool(stopped)

    async def sleep(self, seconds):
        """As ``wait``, for ``async`` code."""
        if not self.should_continue():
            return True
        loop = asyncio.get_running_loop()
        stopped = loop.create_future()
        # One of its own: a loop knows one reader a descriptor.
        descriptor = os.dup(self.fileno())
        loop.add_reader(descriptor, lambda: stopped.done() or stopped.set_result(None))
        self._idle_for(seconds)
        try:
            await asyncio.wait([stopped], timeout=max(0.0, seconds))
            return stopped.done()
        finally:
            self._idle_is_over()
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def idle_until(self, when):
        """No heartbeat is to be expected until ``when``: a ``datetime``, or seconds since the epoch as ``time.time()`` counts."""
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


_living = weakref.WeakSet()


def _after_fork():
    for manager in _living:
        manager._continue_after_fork()


os.register_at_fork(after_in_child=_after_fork)
