"""Callbacks at the end, sync and async ones: all of them run, in the order in which they were added, and whoever fails is logged.

Guards that the event loop of the caller is never blocked; that what was begun without being awaited runs all the same when the loop
ends, however it ends; and that not even SystemExit keeps a callback from running: it is raised once all have.
"""

import asyncio
import atexit
import concurrent.futures
import inspect
import logging
import time
import weakref

log = logging.getLogger("devstack")

# How long whoever was cancelled may take to notice.
_PATIENCE = 1.0


class Over:
    """What has been done. It may be awaited, and need not be."""

    def __await__(self):
        yield from ()


class Ending:
    """What is under way. It may be awaited, in any event loop, and need not be."""

    def __init__(self, callbacks, seconds, then):
        """``callbacks``: a deque, taken from its left and added to meanwhile. ``seconds``: for each async one. ``then()`` is last."""
        self._callbacks, self._seconds, self._then = callbacks, seconds, then
        # To await first, when it goes on; and what a loop was asked for that may have ended before it began.
        self._begun = self._asked_for = None
        self._raised = None
        self._loop = self._guard = self._task = None
        self._own_tasks = weakref.WeakSet()
        self._done = concurrent.futures.Future()
        self._done.set_running_or_notify_cancel()

    def __await__(self):
        if self._loop is not None and self._loop.is_closed():
            yield from self._go_on().__await__()
        # A callback that awaits the end of all callbacks would wait for itself.
        if not self._done.done() and asyncio.current_task() not in self._own_tasks:
            yield from asyncio.wrap_future(self._done).__await__()
        if self._raised is not None:
            raise self._raised

    def run(self):
        """Outside of an event loop everything has been done on return. Inside of one, what comes from the first async callback on is
        a task of the loop."""
        self._call_up_to_an_async_one()
        if self._begun is None:
            self._end()
            if self._raised is not None:
                raise self._raised
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.finish()
            return
        self._loop = loop
        _under_way.add(self)
        # Closed by the loop when that ends (``shutdown_asyncgens``), after it has cancelled every task.
        self._guard = self._at_the_end_of_the_loop()
        try:
            self._guard.__anext__().send(None)
        except StopIteration:
            pass
        self._task = loop.create_task(self._main())
        # A loop that waits in its selector does not see a task of a signal handler.
        loop.call_soon_threadsafe(lambda: None)

    def finish(self):
        """What is left, in a loop of its own."""
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._go_on())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
        if self._raised is not None:
            raise self._raised

    async def _at_the_end_of_the_loop(self):
        try:
            yield
        finally:
            if not self._done.done() and self._task.done():
                await self._go_on()
            elif not self._done.done():
                await asyncio.wait([self._task])

    async def _main(self):
        await self._go_on()
        if self._raised is not None:
            raise self._raised

    async def _go_on(self):
        # From a loop that is no more.
        self._begun, self._asked_for = self._begun or self._asked_for, None
        self._call_up_to_an_async_one()
        while self._begun is not None:
            (callback, result), self._begun = self._begun, None
            await self._await(callback, result)
            self._call_up_to_an_async_one()
        self._end()

    async def _await(self, callback, result):
        has_begun = False

        async def begin():
            nonlocal has_begun
            has_begun, self._asked_for = True, None
            return await result

        task = None
        # A loop that ends cancels what has not begun, too.
        while task is None or (task.cancelled() and not has_begun):
            self._asked_for = callback, result
            task = asyncio.ensure_future(begin())
            self._own_tasks.add(task)
            await self._wait_for(task, callback)
        if task.cancelled():
            log.error("cleanup callback %r was cancelled", callback)
        elif task.done() and task.exception() is not None:
            self._note(callback, task.exception())

    async def _wait_for(self, task, callback):
        end = None if self._seconds is None else time.monotonic() + self._seconds
        while not task.done() and (end is None or time.monotonic() < end):
            try:
                await asyncio.wait([task], timeout=None if end is None else max(0.0, end - time.monotonic()))
            except asyncio.CancelledError:
                # Where the loop ends, it has cancelled the callback as well.
                continue
        if not task.done():
            task.cancel()
            log.error("cleanup callback %r did not end within %s s", callback, self._seconds)
            try:
                await asyncio.wait([task], timeout=_PATIENCE)
            except asyncio.CancelledError:
                pass

    def _call_up_to_an_async_one(self):
        while self._begun is None and self._callbacks:
            callback = None
            try:
                callback = self._callbacks.popleft()
                result = callback()
                if inspect.isawaitable(result):
                    self._begun = callback, result
            except BaseException as error:
                self._note(callback, error)

    def _note(self, callback, error):
        if isinstance(error, (Exception, asyncio.CancelledError)):
            log.error("cleanup callback %r failed", callback, exc_info=error)
        elif self._raised is None:
            self._raised = error

    def _end(self):
        if not self._done.done():
            _under_way.discard(self)
            self._then()
            self._done.set_result(None)
            guard, self._guard = self._guard, None
            if guard is not None and not guard.ag_running:
                try:
                    guard.aclose().send(None)
                except StopIteration:
                    pass


_under_way: "set[Ending]" = set()


@atexit.register
def _finish_all():
    """Those whose loop ended without asking anybody."""
    for ending in list(_under_way):
        if ending._loop.is_closed() or not ending._loop.is_running():
            ending.finish()
