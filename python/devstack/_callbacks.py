"""Callbacks at the end, sync and async ones: all of them run, in order, and whoever fails is logged.

Guards that the event loop of the caller is never blocked, and that what was begun without being awaited runs all the same when
``asyncio.run`` ends and cancels what is left.
"""

import asyncio
import collections.abc
import inspect
import logging

log = logging.getLogger("devstack")


class Awaitable:
    """Something that has been done, or is under way: it may be awaited, and need not be."""

    def __init__(self, under_way=None):
        self._under_way = under_way

    def __await__(self):
        if self._under_way is not None:
            yield from asyncio.shield(self._under_way).__await__()


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


async def _await_all(begun, seconds, then):
    try:
        for callback, result in begun:
            try:
                await asyncio.wait_for(result, seconds)
            except asyncio.CancelledError:
                log.error("cleanup callback %r was cancelled", callback)
            except asyncio.TimeoutError:
                log.error("cleanup callback %r did not end within %s s", callback, seconds)
            except Exception:
                log.exception("cleanup callback %r failed", callback)
    finally:
        then()


def run(callbacks, seconds, then):
    """Call all of them, sync ones first; async ones are awaited one after the other, for ``seconds`` each. ``then()`` is last.

    Outside of an event loop everything has been done on return. Inside of one the async ones are a task of the loop, which may be
    awaited.
    """
    begun = []
    for callback in callbacks:
        try:
            result = callback()
        except Exception:
            log.exception("cleanup callback %r failed", callback)
        else:
            if inspect.isawaitable(result):
                begun.append((callback, result))
    if not begun:
        then()
        return Awaitable()
    rest = _await_all(begun, seconds, then)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(rest)
        return Awaitable()
    return Awaitable(loop.create_task(_Begun(rest)))
