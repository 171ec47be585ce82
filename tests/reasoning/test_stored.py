"""The reasoning store and the reasoner behind it: keys, parts, stale reasoning, threads, new items and files."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from deftrec.errors import DeftRecError
from deftrec.reasoning import Reasoner, ReasoningStore, Residual, Statements, StoredReasoning, build_reasoner
from deftrec.reasoning.store import STALE
from reasoned import options
from toy import ring, tiny_config

DATA = ring(users=60)
ONE, OTHER = np.array([1, 2, 3]), np.array([3, 2, 1])
STATES = torch.arange(8.0).view(2, 4)


@pytest.fixture(scope="module")
def reasoner(tmp_path_factory: pytest.TempPathFactory) -> Reasoner:
    torch.manual_seed(0)
    chosen = options(tmp_path_factory.mktemp("llama"))
    return build_reasoner(torch.randn(DATA.n_items, 7), slice(0, 3), tiny_config().tokenizer, chosen, DATA).eval()


def residual(width: int, *, speaks: bool = False) -> Residual:
    """A residual that adds something to each of two members."""
    torch.manual_seed(1)
    added = Residual(width, members=2, width=5)
    maps = [added.history, *([added.statement] if speaks else [])]
    with torch.no_grad():
        for one in maps:
            one.linear.weight.normal_()
            one.mean.normal_()
    return added


def stored(reasoner: Reasoner | Callable[[], Reasoner], *, speaks: bool = False, **more: int) -> StoredReasoning:
    return StoredReasoning(reasoner, residual(32, speaks=speaks), ReasoningStore(None, "one"), 4, **more)


def unreadable() -> Reasoner:
    raise AssertionError("the language model was loaded")


@pytest.fixture
def store() -> Iterator[ReasoningStore]:
    with closing(ReasoningStore(None, "one")) as made:
        yield made


# -- the store ---------------------------------------------------------------------------------------------------------


def test_a_key_is_of_items_their_order_and_the_reasoner(store: ReasoningStore) -> None:
    assert store.key(ONE) == store.key(ONE.astype(np.int32))
    assert store.key(ONE) != store.key(OTHER)
    with closing(ReasoningStore(None, "another")) as another:
        assert store.key(ONE) != another.key(ONE)


def test_states_and_statements_of_a_history_are_kept_apart(store: ReasoningStore) -> None:
    store.put_states([ONE, OTHER], STATES)
    row = store.get(ONE)
    assert (row.text, row.content) == (None, None)
    torch.testing.assert_close(row.state, STATES[0])
    store.put_statements([ONE], Statements(["red things"], -STATES[:1]))
    store.put_states([ONE], STATES[1:])
    row = store.get(ONE)
    assert row.text == "red things"
    torch.testing.assert_close(row.content, -STATES[0])
    torch.testing.assert_close(row.state, STATES[1])
    assert store.get(OTHER).text is None
    assert len(store) == 2


def test_a_store_that_moves_takes_its_rows_along(store: ReasoningStore, tmp_path: Path) -> None:
    store.put_states([ONE], STATES[:1])
    store.copy_to(tmp_path / "reasoning.sqlite")
    store.put_states([OTHER], STATES[1:])
    with closing(ReasoningStore(tmp_path / "reasoning.sqlite", "one")) as again:
        assert len(again) == 2
        torch.testing.assert_close(again.get(ONE).state, STATES[0])


def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "reasoning.sqlite"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(DeftRecError, match=r"reasoning\.sqlite: not a usable reasoning store .* delete it"):
        ReasoningStore(path, "one")


def test_a_damaged_vector_counts_as_missing(store: ReasoningStore, tmp_path: Path) -> None:
    path = tmp_path / "reasoning.sqlite"
    store.put_states([ONE, OTHER], STATES)
    store.copy_to(path)
    with closing(sqlite3.connect(path)) as rows, rows:
        rows.execute("UPDATE reasoning SET state = zeroblob(length(state)) WHERE key = ?", (store.key(ONE),))
    with closing(ReasoningStore(path, "one")) as again:
        assert again.get(ONE).state is None
        torch.testing.assert_close(again.get(OTHER).state, STATES[1])


def test_a_file_on_a_read_only_disk_can_be_read(
    store: ReasoningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "reasoning.sqlite"
    store.put_states([ONE], STATES[:1])
    store.copy_to(path)
    assert store.is_writable
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda file, **more: connect(f"{Path(file).as_uri()}?mode=ro", uri=True, **more)
    )
    with closing(ReasoningStore(path, "one")) as again:
        assert again.get(ONE).state is not None
        with pytest.raises(DeftRecError, match="readonly"):
            again.put_states([OTHER], STATES[1:])
    monkeypatch.setattr("os.access", lambda file, mode: file != tmp_path)
    assert not store.is_writable


def test_threads_share_a_store(tmp_path: Path) -> None:
    with closing(ReasoningStore(tmp_path / "reasoning.sqlite", "one")) as store, ThreadPoolExecutor(4) as threads:

        def use(thread: int) -> None:
            for n in range(20):
                history = np.array([thread, n])
                store.put_states([history], torch.full((1, 4), float(n)))
                state = store.get(history).state
                assert state is not None
                assert state.tolist() == [n] * 4

        list(threads.map(use, range(4)))
        assert len(store) == 80


# -- the reasoner behind it --------------------------------------------------------------------------------------------


def test_what_is_stored_is_made_once(reasoner: Reasoner) -> None:
    reasoning = stored(reasoner)
    assert reasoning.make_states([ONE, OTHER, ONE]) == 2
    assert reasoning.make_states([ONE, OTHER]) == 0
    assert reasoning.make_statements([ONE]) == 1
    reasoning._reasoner = unreadable
    made = reasoning.states([ONE, OTHER])
    torch.testing.assert_close(made, reasoner.read([ONE, OTHER])[:, -1], rtol=0.01, atol=0.01)  # kept in bf16
    assert reasoning.statements([ONE]).texts == reasoner.generate([ONE]).texts


@pytest.mark.parametrize("speaks", [False, True])
def test_reasoning_serves_a_few_events_longer(reasoner: Reasoner, speaks: bool) -> None:
    reasoning, history = stored(reasoner, speaks=speaks), np.array([1, 2, 3, 4, 5, 6, 7, 8])
    seen = [history[:n] for n in range(3, 9)]
    added = reasoning.residuals([history[:3]])
    assert added is not None
    reasoning.make_statements([history[:3]])
    reasoning._reasoner, reasoning.wait = unreadable, False
    found = reasoning.residuals(seen)
    assert found is not None
    for less, row in enumerate(found):
        torch.testing.assert_close(row, added[0] if less <= STALE else torch.zeros_like(row))
    texts = [reasoning.statement(one) for one in seen]
    assert texts == [texts[0]] * (STALE + 1) + [None, None]
    assert texts[0]


def test_a_call_decides_whether_it_waits(reasoner: Reasoner) -> None:
    reasoning = stored(reasoner)
    assert reasoning.statement(ONE, wait=False) is None
    said = reasoning.statement(ONE)
    reasoning.wait = False
    assert reasoning.statement(OTHER) is None
    assert reasoning.statement(ONE) == said
    assert reasoning.statement(OTHER, wait=True)
    waited = reasoning.residuals([OTHER], wait=True)
    torch.testing.assert_close(reasoning.residuals([OTHER]), waited)


def test_a_residual_of_zeros_asks_for_no_state() -> None:
    reasoning = StoredReasoning(unreadable, Residual(32, 2, 5), ReasoningStore(None, "one"), 4)
    assert not reasoning.adds_to_condition
    assert reasoning.residuals([ONE]) is None


@torch.no_grad()
def test_items_that_came_later_are_left_out(reasoner: Reasoner) -> None:
    reasoning, new = stored(reasoner), DATA.n_items
    histories = [np.array([1, 2, 3]), np.array([1, new, 2, 3, new + 1]), np.array([new])]
    added = reasoning.residuals(histories)
    assert added is not None
    torch.testing.assert_close(added[1], added[0])
    assert not added[2].any()
    assert reasoning.statements(histories).texts[2] == ""
    assert stored(unreadable, items=new).cut(histories[1]).tolist() == [1, 2, 3]


def test_threads_share_the_language_model(reasoner: Reasoner) -> None:
    """One reads the lowest blocks and the other generates with all of them, and both get what they get alone."""
    reasoning = stored(reasoner)
    histories = [np.array([n, n + 1, n + 2]) for n in range(20)]
    states, texts = reasoner.read(histories)[:, -1], reasoner.generate(histories).texts

    def read() -> Tensor:
        return torch.cat([reasoning.states([one]) for one in histories])

    def speak() -> list[str]:
        return [reasoning.statements([one]).texts[0] for one in histories]

    with ThreadPoolExecutor(2) as threads:
        reading, speaking = threads.submit(read), threads.submit(speak)
        torch.testing.assert_close(reading.result(), states, rtol=0.01, atol=0.01)
        assert speaking.result() == texts
