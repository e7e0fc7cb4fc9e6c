"""SIGTERM and SIGINT: the first asks the worker to stop, the second ends it now.

Guards that whoever handled them before is still called, and has them back at the end.
"""

import functools
import os
import signal
import threading

ASK_TO_STOP = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Handlers around those that were there. Only the main thread may have any; elsewhere nothing is changed."""

    def __init__(self, ask):
        self._ask, self._before, self._came = ask, {}, False

    def hold(self):
        if threading.current_thread() is not threading.main_thread():
            return
        self._came = False
        for number in ASK_TO_STOP:
            before = signal.getsignal(number)
            # `None`: a handler that was not set from Python, and could not be set again.
            if before is not None and before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._handle)

    def give_back(self):
        if threading.current_thread() is not threading.main_thread():
            return
        for number, before in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, before)
        self._before.clear()

    def _handle(self, number, frame):
        if self._came:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._came = True
        self._ask("signal_" + signal.Signals(number).name)
        before = self._before.get(number)
        if callable(before) and not _only_interrupts(before):
            before(number, frame)


def _only_interrupts(handler):
    """What Python and asyncio do on Ctrl-C by themselves: an exception wherever the worker happens to be."""
    if handler is signal.default_int_handler:
        return True
    function = handler.func if isinstance(handler, functools.partial) else handler
    return getattr(function, "__module__", None) == "asyncio.runners"
