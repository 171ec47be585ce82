"""Concurrent requests share the model's time: who comes while it works is answered together, in one batch."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from deftrec.errors import DeftRecError

J = TypeVar("J")
A = TypeVar("A")

LONGEST_RETRY = 30


class OverloadedError(DeftRecError):
    """The request was not worked on; the same one may succeed later.

    Attributes:
        retry_after: whole seconds, from 1.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(f"{message}; try again in {retry_after} s")
        self.retry_after = retry_after


def _future() -> "asyncio.Future[tuple[A, float]]":
    return asyncio.get_running_loop().create_future()


@dataclass(eq=False)
class _Waiting(Generic[J, A]):
    job: J
    until: float
    since: float = field(default_factory=time.monotonic)
    answer: "asyncio.Future[tuple[A, float]]" = field(default_factory=_future)


class Batcher(Generic[J, A]):
    """Gathers jobs and works them off in one thread of its own.

    Args:
        work: answers a batch, one answer or exception a job, in order. Called from the thread.
        size: jobs of one batch, at most.
        queue: jobs that may wait, at most.
        wait: seconds that the first job of a batch waits for others when nothing is being worked on.
        observe: told of the size of every batch.
    """

    def __init__(
        self,
        work: Callable[[Sequence[J]], Sequence[A | Exception]],
        *,
        size: int,
        queue: int,
        wait: float,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._work, self._size, self._room, self._wait, self._observe = work, size, queue, wait, observe
        self._waiting: deque[_Waiting[J, A]] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")
        self._seconds_a_job = 0.01
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        """Begin to work; called inside the event loop."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Answer everybody who waits, then stop; whoever comes now is refused."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    def between(self, work: Callable[[], object]) -> None:
        """Have `work` called from the thread, after the batch that is worked on; at once where this is closed."""
        if self._closing:
            work()
        else:
            self._thread.submit(work)

    async def submit(self, job: J, seconds: float) -> tuple[A, float]:
        """The answer to `job`, and for how many seconds it waited to be worked on.

        Raises:
            OverloadedError: the queue is full or closed, or `seconds` went by before it was worked on.
            Exception: whatever `work` answered for this job.
        """
        if self._closing:
            raise OverloadedError("the service stops", LONGEST_RETRY)
        if len(self._waiting) >= self._room:
            raise OverloadedError("too many requests wait", self._retry_after())
        one = _Waiting[J, A](job, time.monotonic() + seconds)
        self._waiting.append(one)
        self._arrived.set()
        try:
            return await asyncio.wait_for(one.answer, seconds)
        except TimeoutError:
            raise OverloadedError(f"no answer within {seconds:g} s", self._retry_after()) from None

    def _retry_after(self) -> int:
        return min(LONGEST_RETRY, 1 + int(len(self._waiting) * self._seconds_a_job))

    async def _run(self) -> None:
        while self._waiting or not self._closing:
            await self._arrived.wait()
            if self._wait and len(self._waiting) < self._size:
                await asyncio.sleep(self._wait)
            batch = self._take()
            if not self._waiting and not self._closing:
                self._arrived.clear()
            if batch:
                await self._answer(batch)

    def _take(self) -> list[_Waiting[J, A]]:
        """The oldest jobs that somebody still waits for."""
        batch: list[_Waiting[J, A]] = []
        now = time.monotonic()
        while self._waiting and len(batch) < self._size:
            one = self._waiting.popleft()
            if not one.answer.done() and one.until > now:
                batch.append(one)
        return batch

    async def _answer(self, batch: list[_Waiting[J, A]]) -> None:
        self._observe(len(batch))
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        answers: Sequence[A | Exception]
        try:
            answers = await loop.run_in_executor(self._thread, self._work, [one.job for one in batch])
        except Exception as error:  # `work` itself failed: everybody is told, and the next batch goes on
            answers = [error] * len(batch)
        self._seconds_a_job = 0.8 * self._seconds_a_job + 0.2 * (time.monotonic() - began) / len(batch)
        for one, answer in zip(batch, answers, strict=True):
            if one.answer.done():
                continue
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result((answer, began - one.since))
