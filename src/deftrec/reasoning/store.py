"""Reasoning store: statements and states of histories, made once and read many times."""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deftrec.config import ReasonerOptions
from deftrec.errors import DeftRecError
from deftrec.language.stored import stored_state
from deftrec.modes import evaluating
from deftrec.reasoning.reasoner import Reasoner, Reasoning, Residual

STALE = 3
"""Events after a history that its reasoning still serves, where it is read and never computed."""

TABLE = "CREATE TABLE IF NOT EXISTS reasoning (key BLOB PRIMARY KEY, text TEXT NOT NULL, states BLOB NOT NULL)"


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
            self._rows = sqlite3.connect(":memory:" if path is None else path, timeout=60.0, check_same_thread=False)
            with self._rows:
                if path is not None:
                    self._rows.execute("PRAGMA journal_mode=WAL")
                self._rows.execute(TABLE)
        except sqlite3.Error as error:
            raise self._error(error) from error

    def key(self, items: np.ndarray) -> bytes:
        """Key of a history of item numbers, cut to those that are read."""
        return hashlib.sha256(self.identity.encode() + items.astype("<i8").tobytes()).digest()

    def get(self, items: np.ndarray) -> tuple[Tensor, str] | None:
        """States `[2 D]` and statement of a history; None if it has no row."""
        try:
            query = "SELECT states, text FROM reasoning WHERE key = ?"
            with closing(self._rows.execute(query, (self.key(items),))) as found:
                row = found.fetchone()
        except sqlite3.Error as error:
            raise self._error(error) from error
        if row is None:
            return None
        return torch.frombuffer(bytearray(row[0]), dtype=torch.bfloat16).float(), row[1]

    def put(self, histories: Sequence[np.ndarray], reasoning: Reasoning) -> None:
        """Keep the reasoning of histories, all of them or, if that fails, none."""
        states = reasoning.states.to("cpu", torch.bfloat16).view(torch.int16).numpy()
        rows = [
            (self.key(items), text, own.tobytes())
            for items, text, own in zip(histories, reasoning.texts, states, strict=True)
        ]
        try:
            with self._rows:
                self._rows.executemany("INSERT OR REPLACE INTO reasoning VALUES (?, ?, ?)", sorted(rows))
        except sqlite3.Error as error:
            raise self._error(error) from error

    def copy_to(self, path: Path) -> None:
        """Write all rows to another file, which must not exist."""
        with closing(sqlite3.connect(path)) as other:
            self._rows.backup(other)

    def __len__(self) -> int:
        return int(self._rows.execute("SELECT COUNT(*) FROM reasoning").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._rows.close()

    def _error(self, error: sqlite3.Error) -> DeftRecError:
        return DeftRecError(f"{self.path}: not a usable reasoning store ({error}); delete it, and it is filled again")


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

    @property
    def is_used(self) -> bool:
        """Whether the states add anything to the conditions: validation may have left the residual at zero."""
        return bool(self.residual.linear.weight.any())

    def reason(
        self, histories: Sequence[np.ndarray], on_batch: Callable[[int], object] | None = None
    ) -> Reasoning:
        """States and statements of histories (item numbers, oldest first, none empty); those not stored are made now."""
        read = [history[-self.history :] for history in histories]
        found = [self.store.get(items) for items in read]
        missing = [n for n, row in enumerate(found) if row is None]
        if missing:
            reasoner = self.reasoner
            with evaluating(reasoner):
                made = reasoner.reason([read[n] for n in missing], on_batch)
            self.store.put([read[n] for n in missing], made)
            for place, n in enumerate(missing):  # as they are read from the store later
                found[n] = made.states[place].bfloat16().float().cpu(), made.texts[place]
        rows = [row for row in found if row is not None]
        device = self.residual.mean.device
        return Reasoning(torch.stack([states for states, _ in rows]).to(device), [text for _, text in rows])

    @torch.no_grad()
    def residuals(self, histories: Sequence[np.ndarray], *, wait: bool = True) -> Tensor | None:
        """What is added to the condition of every member after each history. `[N, M, d]`; None: nothing is.

        Args:
            histories: item numbers, oldest first, none empty.
            wait: make the reasoning that is missing; if false, that of up to `STALE` events before serves instead, and
                a history without any adds nothing.
        """
        if not self.is_used:
            return None
        if wait:
            return self.residual(self.reason(histories).states)  # type: ignore[no-any-return]
        states = self.residual.mean.expand(len(histories), -1).clone()
        known = torch.zeros(len(histories), dtype=torch.bool, device=states.device)
        for n, history in enumerate(histories):
            row = self._latest(history)
            if row is not None:
                states[n], known[n] = row[0].to(states.device), True
        return self.residual(states) * known[:, None, None]  # type: ignore[no-any-return]

    def statement(self, history: np.ndarray, *, wait: bool = True) -> str | None:
        """The statement of a history; None if there is none yet and it is not to `wait` for one."""
        if wait:
            return self.reason([history]).texts[0]
        row = self._latest(history)
        return None if row is None else row[1]

    def _latest(self, history: np.ndarray) -> tuple[Tensor, str] | None:
        """The row of a history, or of the longest beginning of it that lacks at most `STALE` events."""
        for less in range(min(STALE + 1, len(history))):
            row = self.store.get(history[: len(history) - less][-self.history :])
            if row is not None:
                return row
        return None
