"""Reasoning store: statements and states of histories, made once and read many times."""

import hashlib
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deftrec.config import ReasonerOptions
from deftrec.errors import DeftRecError, UnwritableError
from deftrec.files import atomic_path, disk_fault
from deftrec.language.stored import stored_state
from deftrec.modes import evaluating
from deftrec.reasoning.engines import StatementEngine
from deftrec.reasoning.reasoner import Reasoner, Residual, Statements

CHUNK = 256
"""Histories that are stored at once, so that little is lost where the work is interrupted."""

STALE = 3
"""Events after a history that its reasoning still serves, where it is read and never computed."""

CHECK = 4  # bytes of a vector's checksum, a CRC-32

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
    """Digest of what decides a reasoner's statements beside its base: options, trained weights, features, words."""
    digest = hashlib.sha256(options.model_dump_json().encode())
    for name, tensor in sorted(stored_state(reasoner).items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    digest.update(repr((reasoner.before, reasoner.after, reasoner.lines, reasoner.form_words)).encode())
    return digest.hexdigest()


class ReasoningStore:
    """An SQLite file with a row for each history, under a key of the items read and of the reasoner (`identity`).

    Processes may share the file, and threads the store. Without a path, rows are kept in memory. States are stored in
    bf16, with a checksum: damaged ones count as missing.

    Raises:
        DeftRecError: the file is no store, or cannot be written.
    """

    def __init__(self, path: Path | None, identity: str) -> None:
        self.path, self.identity = path, identity
        self._lock = threading.RLock()  # one connection for all threads
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
            with self._lock, closing(self._rows.execute(query, (self.key(items),))) as found:
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
        contents = [None] * len(histories) if statements.content is None else _blobs(statements.content)
        pairs = zip(histories, statements.texts, contents, strict=True)
        rows = [(self.key(items), text, content) for items, text, content in pairs]
        update = "DO UPDATE SET text = excluded.text, content = excluded.content"
        self._write(f"(key, text, content) VALUES (?, ?, ?) ON CONFLICT (key) {update}", rows)

    def _write(self, columns: str, rows: list[tuple[Any, ...]]) -> None:
        try:
            with self._lock, self._rows:
                self._rows.executemany(f"INSERT INTO reasoning {columns}", rows)
        except sqlite3.Error as error:
            raise self._error(error) from error

    def copy_to(self, path: Path) -> None:
        """Write all rows to the file `path`, in place of what is there; rows in memory are kept there from now on."""
        own = self.path is not None and self.path.absolute() == path.absolute()
        if own and path.is_file():
            return
        with self._lock:
            try:
                with atomic_path(path) as temporary, closing(sqlite3.connect(temporary)) as other:
                    self._rows.backup(other)
                if own or self.path is None:
                    before, self._rows, self.path = self._rows, _connected(path), path
                    before.close()
            except sqlite3.Error as error:
                raise self._error(error) from error

    @property
    def is_writable(self) -> bool:
        """Whether this process may write to the file and, for its journal, to the folder."""
        return self.path is None or all(os.access(one, os.W_OK) for one in (self.path, self.path.parent))

    def __len__(self) -> int:
        with self._lock:
            return int(self._rows.execute("SELECT COUNT(*) FROM reasoning").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._rows.close()

    def _error(self, error: sqlite3.Error) -> DeftRecError:
        if (fault := disk_fault(error)) is not None:
            return UnwritableError(f"{self.path}: cannot be written ({fault}); make room there")
        if isinstance(error, sqlite3.OperationalError):  # read-only, locked
            return DeftRecError(f"{self.path}: cannot be used ({error}); make the file and its folder writable")
        return DeftRecError(f"{self.path}: not a usable reasoning store ({error}); delete it, and it is filled again")


def _connected(path: Path | None) -> sqlite3.Connection:
    rows = sqlite3.connect(":memory:" if path is None else path, timeout=60.0, check_same_thread=False)
    with rows:
        rows.execute(TABLE)
    return rows


def _vector(blob: bytes | None) -> Tensor | None:
    """The vector of `_blobs`; None where there is none, or its checksum says that it is damaged."""
    if blob is None or _check(blob[:-CHECK]) != blob[-CHECK:]:
        return None
    return torch.frombuffer(bytearray(blob[:-CHECK]), dtype=torch.bfloat16).float()


def _blobs(vectors: Tensor) -> list[bytes]:
    """Each vector in bf16, and its checksum."""
    rows = [row.tobytes() for row in vectors.to("cpu", torch.bfloat16).view(torch.int16).numpy()]
    return [row + _check(row) for row in rows]


def _check(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(CHECK, "little")


class StoredReasoning:
    """A reasoner behind its store, and the residual of its states.

    Histories are item numbers, oldest first; items added after the training of the reasoner are left out of them.
    Threads may share it: one at a time uses the language model, and reading the store does not wait for that.

    Args:
        reasoner: the language model, or what builds it where it is first needed: a store that holds everything asked
            for never loads it.
        residual: linear maps of the states, added to the conditions.
        store: statements and states made before.
        history: largest number of items that the reasoner reads.
        items: number of items that the reasoner knows; None: those of `reasoner`, or all.

    Attributes:
        wait: whether `residuals` and `statement` compute missing reasoning at once, where the call does not say.
            Default true.
    """

    def __init__(
        self,
        reasoner: Reasoner | Callable[[], Reasoner],
        residual: Residual,
        store: ReasoningStore,
        history: int,
        items: int | None = None,
    ) -> None:
        self._reasoner, self.residual, self.store, self.history = reasoner, residual, store, history
        self._items = len(reasoner.lines) if isinstance(reasoner, Reasoner) else items
        self._making = threading.RLock()  # held while the language model is built or computes
        self.wait = True

    @property
    def reasoner(self) -> Reasoner:
        """The language model."""
        with self._making:
            if not isinstance(self._reasoner, Reasoner):
                self._reasoner = self._reasoner()
            return self._reasoner

    @property
    def adds_to_condition(self) -> bool:
        """Whether the residual uses states; if not, only statements are of use."""
        return self.residual.history.is_used or self.residual.statement.is_used

    def cut(self, history: np.ndarray) -> np.ndarray:
        """The items of a history that the reasoner reads: the newest that it knows. `[n]`, n may be 0"""
        known = history if self._items is None else history[history < self._items]
        return known[-self.history :]

    def make_states(self, histories: Sequence[np.ndarray], on_batch: Callable[[int], object] | None = None) -> int:
        """Compute and store the states that are missing; `on_batch` gets the number of each batch. Their number"""

        def make(some: list[np.ndarray]) -> None:
            with evaluating(self.reasoner):
                self.store.put_states(some, self.reasoner.read(some, on_batch)[:, -1])

        return self._make(histories, lambda row: row.state, make)

    def make_statements(
        self,
        histories: Sequence[np.ndarray],
        on_batch: Callable[[int], object] | None = None,
        engine: StatementEngine | None = None,
    ) -> int:
        """Generate and store the statements that are missing, by an `engine` or the language model itself.

        Otherwise like `make_states`. What was made before an error of the engine is stored.
        """

        def make(some: list[np.ndarray]) -> None:
            if engine is None:
                with evaluating(self.reasoner):
                    self.store.put_statements(some, self.reasoner.generate(some, on_batch))
                return
            for start, texts in engine.write(some, on_batch):
                part, content = some[start : start + len(texts)], None
                if self.residual.statement.is_used and texts:
                    with evaluating(self.reasoner):
                        content = self.reasoner.pooled(part, texts)
                self.store.put_statements(part, Statements(texts, content))

        return self._make(histories, lambda row: row.text, make)

    def states(self, histories: Sequence[np.ndarray], on_batch: Callable[[int], object] | None = None) -> Tensor:
        """Hidden state after each history, computed now where it is not stored. `[N, D]` float32

        A history without a known item has the mean state.
        """
        self.make_states(histories, on_batch)
        return self._states([self.store.get(self.cut(history)) for history in histories])

    def statements(
        self, histories: Sequence[np.ndarray], on_batch: Callable[[int], object] | None = None
    ) -> Statements:
        """Statements of histories, generated now where they are not stored.

        A history without a known item has an empty text and the mean content.
        """
        self.make_statements(histories, on_batch)
        rows = [self.store.get(self.cut(history)) for history in histories]
        return Statements([row.text or "" for row in rows], self._contents(rows))

    @torch.no_grad()
    def residuals(self, histories: Sequence[np.ndarray], *, wait: bool | None = None) -> Tensor | None:
        """What is added to the condition of every member after each history. `[N, M, d]`; None: nothing is.

        Args:
            histories: item numbers, oldest first, none empty.
            wait: compute the reasoning that is missing; if false, that of up to `STALE` events before serves instead,
                and what is missing adds nothing. None (default): as the attribute `wait` says.
        """
        if not self.adds_to_condition:
            return None
        if self.wait if wait is None else wait:
            states = self.states(histories)
            content = self.statements(histories).content if self.residual.statement.is_used else None
        else:
            rows = [self._latest(history) for history in histories]
            states = self._states(rows)
            content = self._contents(rows) if self.residual.statement.is_used else None
        return self.residual(states, content)  # type: ignore[no-any-return]

    def statement(self, history: np.ndarray, *, wait: bool | None = None) -> str | None:
        """The statement of a history; None if there is none. `wait` as for `residuals`."""
        if self.wait if wait is None else wait:
            return self.statements([history]).texts[0] or None
        return self._latest(history, spoken=True).text or None

    def _make(
        self,
        histories: Sequence[np.ndarray],
        part: Callable[[Row], object],
        make: Callable[[list[np.ndarray]], None],
    ) -> int:
        """`make` what is missing of a `part`, in chunks; its number."""
        with self._making:
            missing = self._missing(histories, part)
            for start in range(0, len(missing), CHUNK):
                make(missing[start : start + CHUNK])
            return len(missing)

    def _missing(self, histories: Sequence[np.ndarray], part: Callable[[Row], object]) -> list[np.ndarray]:
        """The distinct histories, cut and not empty, whose `part` is not stored."""
        distinct = {read.tobytes(): read for read in map(self.cut, histories) if len(read)}
        return [read for read in distinct.values() if part(self.store.get(read)) is None]

    def _latest(self, history: np.ndarray, *, spoken: bool = False) -> Row:
        """What is stored of a history, or of the longest beginning of it that lacks at most `STALE` events.

        It has a state or, where `spoken`, a statement that is not empty.
        """
        for less in range(min(STALE + 1, len(history))):
            row = self.store.get(self.cut(history[: len(history) - less]))
            if row.text if spoken else row.state is not None:
                return row
        return Row()

    def _states(self, rows: Sequence[Row]) -> Tensor:
        """States of rows; where there is none the mean, to which the residual's map gives zero. `[N, D]`"""
        mean = self.residual.history.mean
        rest = mean.cpu()
        return torch.stack([rest if row.state is None else row.state for row in rows]).to(mean.device)

    def _contents(self, rows: Sequence[Row]) -> Tensor:
        """Contents of rows; where there is none the mean. `[N, D]`"""
        mean = self.residual.statement.mean
        rest = mean.cpu()
        return torch.stack([rest if row.content is None else row.content for row in rows]).to(mean.device)
