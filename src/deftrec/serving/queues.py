"""Bounded queues: one batches requests for the model, the other runs blocking calls of the store in threads."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, ParamSpec, TypeAlias, TypeVar

from deftrec.serving.problems import ProblemError

J = TypeVar("J")
A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")

Waiting: TypeAlias = tuple[J, float, asyncio.Future[tuple[A, float]]]  # A job, the moment of its arrival and its result
LONGEST_RETRY = 30


class OverloadedError(ProblemError):
    """The request was not processed; it may succeed after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(503, "overloaded", message, retry_after=retry_after)


class Batcher(Generic[J, A]):
    """Collects concurrent jobs into batches of at most `size` and processes the batches in one thread.

    Args:
        work: Processes a batch in the thread; returns one result or exception per job, in order.
        queue: Largest number of waiting jobs.
        wait: Seconds that the first job of a batch waits for others while the thread is idle.
        observe: Called with the size of every batch.
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
        self._waiting: deque[Waiting[J, A]] = deque()
        self._thread = ThreadPoolExecutor(1, "model")
        self._seconds_a_job = 0.01
        self._task: asyncio.Task[None] | None = None  # runs while jobs wait
        self._closing = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def close(self) -> None:
        """Process all waiting jobs, then stop; later jobs are refused."""
        self._closing = True
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    def run_between_batches(self, work: Callable[[], object]) -> None:
        """Call `work` in the thread after the present batch; immediately if the batcher is closed."""
        if self._closing:
            work()
        else:
            self._thread.submit(work)

    async def submit(self, job: J, seconds: float) -> tuple[A, float]:
        """Wait for the result of a job, or raise its exception; also return the seconds that it waited in the queue.

        An `OverloadedError` means that the queue is full or closed, or that `seconds` passed without a result.
        """
        if self._closing:
            raise OverloadedError("the service is shutting down", LONGEST_RETRY)
        if len(self) >= self._room:
            raise OverloadedError("too many requests wait", self._retry_after())
        answer: asyncio.Future[tuple[A, float]] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, time.monotonic(), answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            return await asyncio.wait_for(answer, seconds)  # cancels the future when the time is up
        except TimeoutError:
            raise OverloadedError(f"no answer within {seconds:g} s", self._retry_after()) from None

    def _retry_after(self) -> int:
        return min(LONGEST_RETRY, 1 + int(len(self) * self._seconds_a_job))

    async def _run(self) -> None:
        while self._waiting:
            if self._wait and len(self) < self._size:
                await asyncio.sleep(self._wait)
            batch: list[Waiting[J, A]] = []
            while self._waiting and len(batch) < self._size:
                job = self._waiting.popleft()
                if not job[2].done():  # otherwise the caller has given up
                    batch.append(job)
            if batch:
                await self._process(batch)

    async def _process(self, batch: list[Waiting[J, A]]) -> None:
        self._observe(len(batch))
        began, jobs = time.monotonic(), [job for job, _, _ in batch]
        results: Sequence[A | Exception]
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._work, jobs)
        except Exception as error:  # `work` itself failed: every caller gets the error, and the next batch goes on
            results = [error] * len(batch)
        self._seconds_a_job = 0.8 * self._seconds_a_job + 0.2 * (time.monotonic() - began) / len(batch)
        for (_, since, answer), result in zip(batch, results, strict=True):
            if answer.done():
                continue
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result((result, began - since))


class BoundedExecutor:
    """Runs blocking calls in `size` threads; at most `queue` calls may wait for one.

    After `seconds` the caller gives up; the call itself goes on.
    """

    def __init__(self, size: int, queue: int, seconds: float) -> None:
        self._places, self._seconds = asyncio.Semaphore(size + queue), seconds
        self._pool = ThreadPoolExecutor(size, "store")

    async def call(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `work` in a thread and return its result; an `OverloadedError` if too many wait or the time is up."""
        if self._places.locked():
            raise OverloadedError("too many requests wait for the store", 1)
        await self._places.acquire()
        call = self._pool.submit(work, *args, **kwargs)
        loop = asyncio.get_running_loop()
        # The place is released when the thread is free again, not when its caller has given up.
        call.add_done_callback(lambda _: loop.call_soon_threadsafe(self._places.release))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(call), self._seconds)
        except TimeoutError:
            raise OverloadedError(f"the store took longer than {self._seconds:g} s", 1) from None

    def close(self) -> None:
        """Wait for the calls in progress."""
        self._pool.shutdown()
