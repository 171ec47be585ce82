"""Calls of the store: a bounded number waits, and a slow one holds nobody up for ever."""

import asyncio
import threading

import pytest

from deftrec.serving.batching import OverloadedError
from deftrec.serving.threads import BoundedExecutor


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
