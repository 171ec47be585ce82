"""The refresher: what it computes, what it drops, and how it ends."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch

from deftrec.errors import DeftRecError
from deftrec.reasoning import Reasoner, ReasoningStore, Refresher, Residual, StoredReasoning, build_reasoner
from reasoned import options
from toy import ring, tiny_config

DATA = ring(users=60)
HISTORIES = [np.array([n, n + 1]) for n in range(10)]


class Watched(StoredReasoning):
    """A stored reasoner that records its batches, and goes on with one only when it may.

    Attributes:
        batches: What was computed, and the first item of each history.
        go: Whether it may compute.
        begun: Whether it has begun to.
        broken: Error that it raises instead.
    """

    broken: Exception | None = None

    def __init__(self, reasoner: Reasoner, residual: Residual) -> None:
        super().__init__(reasoner, residual, ReasoningStore(None, "one"), 4)
        self.batches: list[tuple[str, list[int]]] = []
        self.go, self.begun = threading.Event(), threading.Event()

    def _computed(self, what: str, histories: Sequence[np.ndarray]) -> None:
        self.batches.append((what, [int(one[0]) for one in histories]))
        self.begun.set()
        assert self.go.wait(30)
        if self.broken is not None:
            raise self.broken

    def make_states(self, histories: Sequence[np.ndarray], on_batch: Callable[[int], object] | None = None) -> int:
        self._computed("states", histories)
        return super().make_states(histories, on_batch)

    def make_statements(self, histories: Sequence[np.ndarray], on_batch: Callable[[int], object] | None = None) -> int:
        self._computed("statements", histories)
        return super().make_statements(histories, on_batch)


@pytest.fixture(scope="module")
def reasoner(tmp_path_factory: pytest.TempPathFactory) -> Reasoner:
    torch.manual_seed(0)
    chosen = options(tmp_path_factory.mktemp("llama"))
    return build_reasoner(torch.randn(DATA.n_items, 7), slice(0, 3), tiny_config().tokenizer, chosen, DATA).eval()


@pytest.fixture
def reasoning(reasoner: Reasoner) -> Iterator[Watched]:
    residual = Residual(32, members=1, width=5)
    torch.nn.init.normal_(residual.history.linear.weight)
    watched = Watched(reasoner, residual)
    yield watched
    watched.go.set()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_it_fills_the_store_with_states_first(reasoning: Watched) -> None:
    made: list[int] = []
    refresher = Refresher(reasoning, batch=4, on_made=made.append)
    refresher.ask(HISTORIES[:1])
    assert reasoning.begun.wait(30)
    refresher.ask(HISTORIES[:6])
    assert len(refresher) == 6 + 6, "the first has a batch already, and is not stored yet"
    reasoning.go.set()
    until(lambda: sum(made) == 12)
    refresher.close()
    kinds = [kind for kind, _ in reasoning.batches]
    assert kinds == sorted(kinds, reverse=True), "states, then statements"
    assert [len(batch) for _, batch in reasoning.batches] == [1, 4, 2, 4, 2]
    for history in HISTORIES[:6]:
        row = reasoning.store.get(history)
        assert row.state is not None
        assert row.text is not None


def test_what_is_stored_or_waits_is_not_asked_for_again(reasoning: Watched) -> None:
    refresher = Refresher(reasoning)
    reasoning.go.set()
    reasoning.make_states(HISTORIES[:2])
    reasoning.make_statements(HISTORIES[:2])
    refresher.ask(HISTORIES[:2])
    assert refresher._thread is None, "nothing to do"
    reasoning.go.clear()
    reasoning.begun.clear()
    refresher.ask(HISTORIES[2:3])
    assert reasoning.begun.wait(30)
    for _ in range(3):
        refresher.ask([*HISTORIES[3:5], np.array([], np.int64), np.array([DATA.n_items])])
    assert len(refresher) == 2 + 3, "states of two, statements of three"
    reasoning.go.set()
    refresher.close()


def test_states_alone(reasoning: Watched) -> None:
    reasoning.go.set()
    refresher = Refresher(reasoning, statements=False)
    refresher.ask(HISTORIES)
    until(lambda: all(reasoning.store.get(one).state is not None for one in HISTORIES))
    refresher.close()
    assert {kind for kind, _ in reasoning.batches} == {"states"}


def test_states_that_nobody_uses_are_not_computed(reasoning: Watched) -> None:
    reasoning.residual.history.zero()
    reasoning.go.set()
    refresher = Refresher(reasoning)
    refresher.ask(HISTORIES)
    until(lambda: all(reasoning.store.get(one).text is not None for one in HISTORIES))
    refresher.close()
    assert {kind for kind, _ in reasoning.batches} == {"statements"}


def test_a_full_queue_drops_and_nobody_waits(reasoning: Watched) -> None:
    refresher = Refresher(reasoning, statements=False, queue=3)
    refresher.ask(HISTORIES[:1])
    assert reasoning.begun.wait(30)
    refresher.ask(HISTORIES[1:])  # returns, though the thread is held
    assert len(refresher) == 3
    reasoning.go.set()
    until(lambda: not len(refresher))
    refresher.close()
    assert reasoning.store.get(HISTORIES[3]).state is not None
    assert reasoning.store.get(HISTORIES[4]).state is None


def test_an_error_is_logged_once_and_ends_nothing(reasoning: Watched, caplog: pytest.LogCaptureFixture) -> None:
    reasoning.broken = DeftRecError("no\nmodel")
    reasoning.go.set()
    refresher = Refresher(reasoning, statements=False, batch=1, retry=0.0)
    with caplog.at_level(logging.WARNING, "deftrec.reasoning"):
        refresher.ask(HISTORIES[:3])
        until(lambda: len(reasoning.batches) == 3)
        until(lambda: caplog.records)
    reasoning.broken = None
    refresher.ask(HISTORIES[3:4])
    until(lambda: reasoning.store.get(HISTORIES[3]).state is not None)
    refresher.close()
    assert [one.getMessage() for one in caplog.records] == ["reasoning failed: DeftRecError: no model"]


def test_it_ends_after_the_present_batch(reasoning: Watched) -> None:
    refresher = Refresher(reasoning, batch=1)
    refresher.ask(HISTORIES)
    assert reasoning.begun.wait(30)
    refresher.close(wait=False)
    thread = refresher._thread
    assert thread is not None
    assert len(refresher) == 0
    reasoning.go.set()
    refresher.close()
    assert not thread.is_alive()
    assert len(reasoning.batches) == 1
    refresher.ask(HISTORIES)
    assert len(refresher) == 0


def test_it_ends_while_it_waits_to_retry(reasoning: Watched) -> None:
    reasoning.broken = ValueError()
    reasoning.go.set()
    refresher = Refresher(reasoning, retry=60.0)
    refresher.ask(HISTORIES)
    until(lambda: refresher._logged)
    began = time.monotonic()
    refresher.close()
    assert time.monotonic() - began < 10
