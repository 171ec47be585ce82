"""Reasoning store: statements and states of histories, made once and read many times."""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deftrec.config import ReasonerOptions
from deftrec.errors import DeftRecError
from deftrec.files import atomic_path
from deftrec.language.stored import stored_state
from deftrec.modes import evaluating
from deftrec.reasoning.reasoner import Reasoner, Residual, Statements

STALE = 3
"""Events after a history that its reasoning still serves, where it is read and never computed."""

TABLE = """
CREATE TABLE IF NOT EXISTS reasoning (key BLOB PRIMARY KEY, state BLOB, text TEXT, content BLOB)
"""


@dataclass(frozen=True, eq=False)
class Row:
    """What is stored of a history.

    Attributes:
        state: hidden state after it; None if it is not stored. `[D]` float32
        text: statement; None if there is none.
        content: mean hidden state of the statement. `[D]` float32
    """

    state: Tensor | None = None
    text: str | None = None
    content: Tensor | None = None


def reasoner_identity(reasoner: Reasoner, options: ReasonerOptions) -> str:
    """Digest of everything that decides a reasoner's statements: its weights, prompt and options."""
    digest = hashlib.sha256(options.model_dump_json().encode())
    for name, tensor in sorted(stored_state(reasoner).items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    digest.update(repr((reasoner.before, reasoner.after)).encode())
    return digest.hexdigest()


class ReasoningStore:
    """An SQLite file with a row for each history, under a key of the items read and of the reasoner (`identity`).

    Processes may share the file. Without a path, rows are kept in memory. States are stored in bf16.

    Raises:
        DeftRecError: the file is no store, or cannot be written.
    """

    def __init__(self, path: Path | None, identity: str) -> None:
        self.path, self.identity = path, identity
        try:
            self._rows = _connected(path)
        except sqlite3.Error as error:
            raise self._error(error) from error

    def key(self, items: np.ndarray) -> bytes:
        """Key of a history of item numbers, cut to those that are read."""
        return hashlib.sha256(self.identity.encode() + items.astype("<i8").tobytes()).digest()

    def get(self, items: np.ndarray) -> Row:
        """What is stored of a history."""
        try:
            query = "SELECT state, text, content FROM reasoning WHERE key = ?"
            with closing(self._rows.execute(query, (self.key(items),))) as found:
                row = found.fetchone()
        except sqlite3.Error as error:
            raise self._error(error) from error
        return Row() if row is None else Row(_vector(row[0]), row[1], _vector(row[2]))

    def put_states(self, histories: Sequence[np.ndarray], states: Tensor) -> None:
        """Keep the states `[N, D]` of histories, all of them or, if that fails, none."""
        rows = [(self.key(items), state) for items, state in zip(histories, _blobs(states), strict=True)]
        self._write("(key, state) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET state = excluded.state", rows)

    def put_statements(self, histories: Sequence[np.ndarray], statements: Statements) -> None:
        """Keep the statements of histories, all of them or, if that fails, none."""
        pairs = zip(histories, statements.texts, _blobs(statements.content), strict=True)
        rows = [(self.key(items), text, content) for items, text, content in pairs]
        update = "DO UPDATE SET text = excluded.text, content = excluded.content"
        self._write(f"(key, text, content) VALUES (?, ?, ?) ON CONFLICT (key) {update}", rows)

    def _write(self, columns: str, rows: list[tuple[Any, ...]]) -> None:
        try:
            with self._rows:
                self._rows.executemany(f"INSERT INTO reasoning {columns}", rows)
        except sqlite3.Error as error:
            raise self._error(error) from error

    def move_to(self, path: Path) -> None:
        """Write all rows to the file `path`, in place of what is there, and keep them there from now on."""
        if self.path == path:
            return
        with atomic_path(path) as temporary, closing(sqlite3.connect(temporary)) as other:
            self._rows.backup(other)
        self.close()
        self.path, self._rows = path, _connected(path)

    def __len__(self) -> int:
        return int(self._rows.execute("SELECT COUNT(*) FROM reasoning").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._rows.close()

    def _error(self, error: sqlite3.Error) -> DeftRecError:
        return DeftRecError(f"{self.path}: not a usable reasoning store ({error}); delete it, and it is filled again")


def _connected(path: Path | None) -> sqlite3.Connection:
    rows = sqlite3.connect(":memory:" if path is None else path, timeout=60.0, check_same_thread=False)
    with rows:
        rows.execute(TABLE)
    return rows


def _vector(blob: bytes | None) -> Tensor | None:
    return None if blob is None else torch.frombuffer(bytearray(blob), dtype=torch.bfloat16).float()


def _blobs(vectors: Tensor) -> list[bytes]:
    return [row.tobytes() for row in vectors.to("cpu", torch.bfloat16).view(torch.int16).numpy()]


class StoredReasoning:
    """A reasoner behind its store, and the residual of its states.

    Args:
        reasoner: the language model, or what builds it where it is first needed: a store that holds everything asked
            for never loads it.
        residual: what the states add to the conditions.
        store: statements and states made before.
        history: largest number of items that the reasoner reads.
    """

    def __init__(
        self, reasoner: Reasoner | Callable[[], Reasoner], residual: Residual, store: ReasoningStore, history: int
    ) -> None:
        self._reasoner, self.residual, self.store, self.history = reasoner, residual, store, history

    @property
    def reasoner(self) -> Reasoner:
        """The language model."""
        if not isinstance(self._reasoner, Reasoner):
            self._reasoner = self._reasoner()
        return self._reasoner

    def states(self, histories: Sequence[np.ndarray], on_batch: Callable[[int], object] | None = None) -> Tensor:
        """Hidden state after each history (item numbers, oldest first, none empty), made now where not stored.

        `[N, D]` float32
        """
        read, rows = self._stored(histories)
        missing = [n for n, row in enumerate(rows) if row.state is None]
        if missing:
            with evaluating(self.reasoner):
                made = self.reasoner.read([read[n] for n in missing], on_batch)[:, -1]
            self.store.put_states([read[n] for n in missing], made)
            rows = self._stored(histories)[1]
        return torch.stack([row.state for row in rows if row.state is not None]).to(self._device)

    def statements(
        self, histories: Sequence[np.ndarray], on_batch: Callable[[int], object] | None = None
    ) -> Statements:
        """Statements of histories (item numbers, oldest first, none empty), made now where not stored."""
        read, rows = self._stored(histories)
        missing = [n for n, row in enumerate(rows) if row.text is None]
        if missing:
            with evaluating(self.reasoner):
                made = self.reasoner.state([read[n] for n in missing], on_batch)
            self.store.put_statements([read[n] for n in missing], made)
            rows = self._stored(histories)[1]
        content = torch.stack([row.content for row in rows if row.content is not None])
        return Statements([row.text or "" for row in rows], content.to(self._device))

    @torch.no_grad()
    def residuals(self, histories: Sequence[np.ndarray], *, wait: bool = True) -> Tensor | None:
        """What is added to the condition of every member after each history. `[N, M, d]`; None: nothing is.

        Args:
            histories: item numbers, oldest first, none empty.
            wait: make the reasoning that is missing; if false, that of up to `STALE` events before serves instead, and
                what is missing adds nothing.
        """
        residual, speaks = self.residual, self.residual.statement.is_used
        if not (residual.history.is_used or speaks):
            return None
        if wait:
            content = self.statements(histories).content if speaks else None
            return residual(self.states(histories), content)  # type: ignore[no-any-return]
        rows = [self._latest(history) for history in histories]
        means = residual.history.mean.cpu(), residual.statement.mean.cpu()  # to which the maps give zero
        states = torch.stack([means[0] if row.state is None else row.state for row in rows])
        content = torch.stack([means[1] if row.content is None else row.content for row in rows])
        return residual(states.to(self._device), content.to(self._device) if speaks else None)  # type: ignore[no-any-return]

    def statement(self, history: np.ndarray, *, wait: bool = True) -> str | None:
        """The statement of a history; None if there is none yet and it is not to `wait` for one."""
        return self.statements([history]).texts[0] if wait else self._latest(history, spoken=True).text

    def _stored(self, histories: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[Row]]:
        """The items read of each history, and what is stored of it."""
        read = [history[-self.history :] for history in histories]
        return read, [self.store.get(items) for items in read]

    def _latest(self, history: np.ndarray, *, spoken: bool = False) -> Row:
        """What is stored of a history, or of the longest beginning of it that lacks at most `STALE` events."""
        for less in range(min(STALE + 1, len(history))):
            row = self.store.get(history[: len(history) - less][-self.history :])
            if (row.text if spoken else row.state) is not None:
                return row
        return Row()

    @property
    def _device(self) -> torch.device:
        return self.residual.history.mean.device
