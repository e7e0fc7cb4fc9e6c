"""Callbacks at the end, sync and async ones: all of them run, in the order in which they were added, and whoever fails is logged.

Guards that the event loop of the caller is never blocked, and that what was begun without being awaited runs all the same when
``asyncio.run`` ends and cancels what is left.
"""

import asyncio
import collections.abc
import concurrent.futures
import inspect
import logging

log = logging.getLogger("devstack")


class Over:
    """What has been done. It may be awaited, and need not be."""

    def __await__(self):
        yield from ()


class Ending:
    """What is under way. It may be awaited, in any event loop, and need not be."""

    def __init__(self):
        self._done = concurrent.futures.Future()
        self._done.set_running_or_notify_cancel()
        self._task = None

    def __await__(self):
        if not self._done.done():
            yield from asyncio.wrap_future(self._done).__await__()

    def run(self, callbacks, seconds, then):
        """Call all of them, one after the other, and ``then()``; async ones are awaited for ``seconds`` each.

        Outside of an event loop everything has been done on return. Inside of one, what comes from the first async one on is a task
        of the loop.
        """

        def end():
            then()
            self._done.set_result(None)

        callbacks = iter(callbacks)
        callback, result = _next_to_await(callbacks)
        if result is None:
            end()
            return
        rest = _rest(callback, result, callbacks, seconds, end)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(rest)
        else:
            # The loop itself knows its tasks only weakly.
            self._task = loop.create_task(_Begun(rest))


class _Begun(collections.abc.Coroutine):
    """A coroutine that begins although it is cancelled before it has: an event loop that closes cancels every task once.

    That is why it lets some turns of the loop pass first, in which whoever called ``shutdown()`` last of all comes to its end.
    """

    def __init__(self, coroutine):
        self._coroutine, self._has_begun, self._turns = coroutine, False, 8

    def send(self, value):
        if self._turns:
            self._turns -= 1
            return None
        self._has_begun = True
        return self._coroutine.send(value)

    def throw(self, *error):
        if not self._has_begun:
            self._turns = 0
            return self.send(None)
        return self._coroutine.throw(*error)

    def close(self):
        self._coroutine.close()

    def __await__(self):
        return self


def _call(callback):
    """What is left to await of it, or ``None``."""
    try:
        result = callback()
    except Exception:
        log.exception("cleanup callback %r failed", callback)
        return None
    return result if inspect.isawaitable(result) else None


async def _rest(callback, result, callbacks, seconds, end):
    """Await ``result`` of ``callback``, and run those that come after it."""
    try:
        while True:
            try:
                await asyncio.wait_for(result, seconds)
            except asyncio.CancelledError:
                log.error("cleanup callback %r was cancelled", callback)
            except asyncio.TimeoutError:
                log.error("cleanup callback %r did not end within %s s", callback, seconds)
            except Exception:
                log.exception("cleanup callback %r failed", callback)
            callback, result = _next_to_await(callbacks)
            if result is None:
                return
    finally:
        end()


def _next_to_await(callbacks):
    """Run callbacks up to the first that has to be awaited: it and its result, or twice ``None``."""
    for callback in callbacks:
        result = _call(callback)
        if result is not None:
            return callback, result
    return None, None
