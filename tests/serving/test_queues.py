"""Queues of the model and the store: batches, limits, deadlines and errors."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from deftrec.serving.queues import Batcher, BoundedExecutor, OverloadedError


def doubled(jobs: Sequence[int]) -> list[int | Exception]:
    return [ValueError("no") if job < 0 else 2 * job for job in jobs]


class Held:
    """Work that goes on until it is let go."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, jobs: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(jobs))
        self.begun.set()
        assert self.go.wait(10)
        return doubled(jobs)


async def begun(held: Held) -> None:
    await asyncio.to_thread(held.begun.wait, 10)


def test_everybody_gets_their_own_answer() -> None:
    async def play() -> None:
        sizes: list[int] = []
        batcher = Batcher(doubled, size=8, queue=100, wait=0.02, observe=sizes.append)
        batcher.start()
        answers = await asyncio.gather(*(batcher.submit(n, 5) for n in range(20)))
        assert [answer for answer, _ in answers] == [2 * n for n in range(20)]
        assert sizes == [8, 8, 4]
        await batcher.close()

    asyncio.run(play())


def test_who_comes_while_the_model_works_is_answered_together() -> None:
    async def play() -> None:
        held = Held()
        batcher = Batcher(held, size=8, queue=100, wait=0)
        batcher.start()
        first = asyncio.create_task(batcher.submit(1, 5))
        await begun(held)
        others = [asyncio.create_task(batcher.submit(n, 5)) for n in (2, 3, 4)]
        await asyncio.sleep(0.02)
        assert len(batcher) == 3
        held.go.set()
        assert [(await task)[0] for task in (first, *others)] == [2, 4, 6, 8]
        assert held.batches == [[1], [2, 3, 4]]
        await batcher.close()

    asyncio.run(play())


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def play() -> None:
        held = Held()
        batcher = Batcher(held, size=1, queue=2, wait=0)
        batcher.start()
        working = asyncio.create_task(batcher.submit(1, 5))
        await begun(held)
        waiting = [asyncio.create_task(batcher.submit(n, 5)) for n in (2, 3)]
        await asyncio.sleep(0.02)
        with pytest.raises(OverloadedError, match="too many requests wait; try again in 1 s") as refused:
            await batcher.submit(4, 5)
        assert refused.value.retry_after == 1
        held.go.set()
        assert [(await task)[0] for task in (working, *waiting)] == [2, 4, 6]
        await batcher.close()

    asyncio.run(play())


def test_a_deadline_gives_up_and_the_model_is_not_asked() -> None:
    async def play() -> None:
        held = Held()
        batcher = Batcher(held, size=1, queue=10, wait=0)
        batcher.start()
        working = asyncio.create_task(batcher.submit(1, 5))
        await begun(held)
        with pytest.raises(OverloadedError, match=r"no answer within 0.05 s"):
            await batcher.submit(2, 0.05)
        held.go.set()
        assert (await working)[0] == 2
        assert (await batcher.submit(3, 5))[0] == 6
        assert held.batches == [[1], [3]]
        await batcher.close()

    asyncio.run(play())


def test_one_bad_job_spoils_nobody_elses_answer() -> None:
    async def play() -> None:
        batcher = Batcher(doubled, size=8, queue=10, wait=0.02)
        batcher.start()
        good, bad = asyncio.create_task(batcher.submit(1, 5)), asyncio.create_task(batcher.submit(-1, 5))
        assert (await good)[0] == 2
        with pytest.raises(ValueError, match="no"):
            await bad
        await batcher.close()

    asyncio.run(play())


def test_work_that_fails_is_told_to_all_and_the_next_batch_goes_on() -> None:
    def fails_once(jobs: Sequence[int]) -> list[int | Exception]:
        if 13 in jobs:
            raise RuntimeError("unlucky")
        return doubled(jobs)

    async def play() -> None:
        batcher = Batcher(fails_once, size=8, queue=10, wait=0)
        batcher.start()
        with pytest.raises(RuntimeError, match="unlucky"):
            await batcher.submit(13, 5)
        assert (await batcher.submit(1, 5))[0] == 2
        await batcher.close()

    asyncio.run(play())


def test_closing_answers_who_waits() -> None:
    async def play() -> None:
        batcher = Batcher(doubled, size=1, queue=10, wait=0.01)
        batcher.start()
        tasks = [asyncio.create_task(batcher.submit(n, 5)) for n in range(5)]
        await asyncio.sleep(0)
        await batcher.close()
        assert [(await task)[0] for task in tasks] == [0, 2, 4, 6, 8]
        with pytest.raises(OverloadedError, match="the service is shutting down"):
            await batcher.submit(5, 5)

    asyncio.run(play())


def test_what_comes_between_batches_waits_for_the_present_one() -> None:
    async def play() -> None:
        held, done = Held(), threading.Event()
        batcher = Batcher(held, size=1, queue=10, wait=0)
        batcher.start()
        with pytest.raises(OverloadedError, match="no answer within"):
            await batcher.submit(1, 0.05)  # given up, and worked on
        batcher.run_between_batches(done.set)
        assert not await asyncio.to_thread(done.wait, 0.05)
        held.go.set()
        assert await asyncio.to_thread(done.wait, 5)
        done.clear()
        await batcher.close()
        batcher.run_between_batches(done.set)
        assert done.is_set(), "at once: no batch comes any more"

    asyncio.run(play())


def test_calls_past_the_queue_are_refused_until_a_thread_is_free() -> None:
    async def play() -> None:
        go = threading.Event()
        threads = BoundedExecutor(size=1, queue=1, seconds=5)
        first, second = (asyncio.create_task(threads.call(go.wait, 5)) for _ in range(2))
        await asyncio.sleep(0.02)
        with pytest.raises(OverloadedError, match="too many requests wait for the store"):
            await threads.call(int)
        go.set()
        assert await first
        assert await second
        await asyncio.sleep(0.02)
        assert await threads.call(int, "7") == 7
        threads.close()

    asyncio.run(play())


def test_a_call_that_takes_too_long_is_given_up_but_keeps_its_place() -> None:
    async def play() -> None:
        go = threading.Event()
        threads = BoundedExecutor(size=1, queue=0, seconds=0.05)
        with pytest.raises(OverloadedError, match=r"longer than 0.05 s"):
            await threads.call(go.wait, 5)
        with pytest.raises(OverloadedError, match="too many"):
            await threads.call(int)
        go.set()
        await asyncio.sleep(0.05)
        assert await threads.call(int, "7") == 7
        threads.close()

    asyncio.run(play())


def test_what_goes_wrong_is_told() -> None:
    async def play() -> None:
        threads = BoundedExecutor(size=1, queue=0, seconds=5)
        with pytest.raises(ValueError, match="invalid literal"):
            await threads.call(int, "x")
        threads.close()

    asyncio.run(play())
