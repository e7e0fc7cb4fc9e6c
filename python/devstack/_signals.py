"""SIGTERM and SIGINT: the first asks every worker of this process to stop, a second one of the same ends the process now.

Guards that whoever handled them before is still called, that a signal of which no worker wants to know does what it did before, and
that the earlier handlers are back at the end, whichever manager ends first and in whichever thread.
"""

import functools
import os
import signal
import threading

ASK_TO_STOP = (signal.SIGTERM, signal.SIGINT)

# Those who are to be asked. One change is one operation of a list: a signal handler may come between any two.
_asked_for: "list[Signals]" = []


class Signals:
    """One manager's wish to be asked."""

    def __init__(self, ask):
        self.ask, self.came = ask, set()

    def hold(self):
        """From here on it is asked. Only the main thread may; elsewhere signals stay as they are."""
        if threading.current_thread() is not threading.main_thread():
            return
        self.came = set()
        _asked_for.append(self)
        for number in ASK_TO_STOP:
            before = signal.getsignal(number)
            # `None`: a handler that was not set from Python, and could not be set again.
            if before not in (None, signal.SIG_IGN) and not isinstance(before, _Handler):
                signal.signal(number, _Handler(before))

    def give_back(self):
        """It is not asked any more. Outside of the main thread the handlers stay, and pass on what comes."""
        if self in _asked_for:
            _asked_for.remove(self)
        if not _asked_for and threading.current_thread() is threading.main_thread():
            for number in ASK_TO_STOP:
                _take_back(number)


class _Handler:
    """Around the one that was there before."""

    # Where the signal that is being asked for came in.
    _asking_at = None

    def __init__(self, before):
        self.before = before

    def __call__(self, number, frame):
        # Called by a handler that came later and itself chains to this one, it has nothing to ask a second time. A second signal
        # comes in somewhere else.
        if _Handler._asking_at == (number, frame):
            return self._chain(number, frame)
        if not _asked_for:
            _take_back(number)
            return _deliver(self.before, number, frame)
        if all(number in one.came for one in _asked_for):
            return _deliver(signal.SIG_DFL, number, frame)
        outer, _Handler._asking_at = _Handler._asking_at, (number, frame)
        try:
            for one in list(_asked_for):
                one.came.add(number)
                one.ask("signal_" + signal.Signals(number).name)
            self._chain(number, frame)
        finally:
            _Handler._asking_at = outer

    def _chain(self, number, frame):
        if callable(self.before) and not _only_interrupts(self.before):
            self.before(number, frame)


def _take_back(number):
    handler = signal.getsignal(number)
    if isinstance(handler, _Handler):
        signal.signal(number, handler.before)


def _deliver(handler, number, frame):
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _only_interrupts(handler):
    """What Python and asyncio do on Ctrl-C by themselves: an exception wherever the worker happens to be."""
    if handler is signal.default_int_handler:
        return True
    function = handler.func if isinstance(handler, functools.partial) else handler
    return getattr(function, "__module__", None) == "asyncio.runners"
