"""Calls that block, in threads of their own: some at once, some that wait, and no more."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from deftrec.serving.batching import OverloadedError

P = ParamSpec("P")
R = TypeVar("R")


class BoundedExecutor:
    """A bounded number of threads with a bounded queue.

    Args:
        size: calls that are under way at once.
        queue: calls that may wait beside them.
        seconds: until a call is given up; what it does may still happen.
    """

    def __init__(self, size: int, queue: int, seconds: float) -> None:
        self._room, self._seconds, self._taken = size + queue, seconds, 0
        self._pool = ThreadPoolExecutor(size, "store")

    async def call(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What `work` returns.

        Raises:
            OverloadedError: too many calls wait, or the time is up.
            Exception: whatever `work` raises.
        """
        if self._taken >= self._room:
            raise OverloadedError("too many requests wait for the store", 1)
        self._taken += 1
        call = self._pool.submit(work, *args, **kwargs)
        loop = asyncio.get_running_loop()
        # Given back when the thread is free again, not when its caller has given up.
        call.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(call), self._seconds)
        except TimeoutError:
            raise OverloadedError(f"the store took longer than {self._seconds:g} s", 1) from None

    def _leave(self) -> None:
        self._taken -= 1

    def close(self) -> None:
        """Wait for the calls that are under way."""
        self._pool.shutdown()
