"""``HealthCheckServer``: ``/health``, ``/ready`` and ``/metrics`` of a worker."""

import os
import weakref

from . import _callbacks, _native


class HealthCheckServer:
    """Answers from a thread that waits neither for the event loop nor for whoever holds the GIL.

    ``/health`` and ``/ready`` are 200 or 503; ``/metrics`` is JSON, or Prometheus text or OpenMetrics by ``Accept`` or ``?format=``.

    :param port: 0 takes one that is free; ``port`` tells which after ``start()``.
    :param process_manager: whose health it is.
    :param host: the address to listen on.
    """

    def __init__(self, port, process_manager, host="127.0.0.1"):
        self.port, self.process_manager, self.host = port, process_manager, host
        self._server = _native.Server()
        _living.add(self)

    def start(self):
        """Listen. A second call does nothing. ``OSError`` names the process that has the port."""
        self.port = self._server.start(self.host, self.port, self.process_manager)
        return _callbacks.Over()

    def stop(self):
        """The port is free on return. A second call does nothing."""
        self._server.stop()
        return _callbacks.Over()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.stop()


_living: "weakref.WeakSet[HealthCheckServer]" = weakref.WeakSet()


def _after_fork():
    _native.leave_listeners_to_parent()
    for server in _living:
        server._server.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
