"""Refresher: computes missing reasoning in the background, so that nobody waits for it."""

import logging
import threading
from collections.abc import Callable, Sequence

import numpy as np

from deftrec.errors import DeftRecError, in_a_line
from deftrec.reasoning.store import StoredReasoning

LOGGER = logging.getLogger("deftrec.reasoning")


class Refresher:
    """A thread that fills the store of `stored` with what is asked for; it starts with the first history that waits.

    States are computed before statements, which take about ten times as long.

    Args:
        statements: whether to generate statements; if false, only states are computed.
        queue: largest number of histories that wait for a state, and of those that wait for a statement.
        batch: largest number of histories in a batch; `close` waits for one batch at most.
        retry: seconds until the next batch after one that failed.
        on_made: called in the thread with the number of states or statements that a batch added.
    """

    def __init__(
        self,
        stored: StoredReasoning,
        *,
        statements: bool = True,
        queue: int = 1024,
        batch: int = 8,
        retry: float = 10.0,
        on_made: Callable[[int], object] | None = None,
    ) -> None:
        self.stored, self.on_made = stored, on_made
        self._wants_states, self._wants_statements = stored.adds_to_condition, statements
        self._queue, self._batch, self._retry = queue, batch, retry
        self._states: dict[bytes, np.ndarray] = {}  # oldest first
        self._statements: dict[bytes, np.ndarray] = {}
        self._changed, self._closed = threading.Condition(), False
        self._thread: threading.Thread | None = None
        self._logged: set[str] = set()

    def ask(self, histories: Sequence[np.ndarray]) -> None:
        """Let the histories whose reasoning is missing wait for it; returns at once.

        Histories (item numbers, oldest first) for which there is no room are dropped, as are all after `close`.
        """
        for history in histories:
            if self._closed:
                return
            read = self.stored.cut(history)
            if not len(read):
                continue
            row = self.stored.store.get(read)
            with self._changed:
                if self._wants_states and row.state is None:
                    self._put(self._states, read)
                if self._wants_statements and row.text is None:
                    self._put(self._statements, read)

    def __len__(self) -> int:
        """Number of states and statements that are waited for."""
        return len(self._states) + len(self._statements)

    def close(self, *, wait: bool = True) -> None:
        """Drop what waits and end the thread after the present batch; if not to `wait` for that, return at once."""
        with self._changed:
            self._closed = True
            self._states.clear()
            self._statements.clear()
            self._changed.notify_all()
        if wait and self._thread is not None:
            self._thread.join()

    def _put(self, waiting: dict[bytes, np.ndarray], read: np.ndarray) -> None:
        if self._closed or len(waiting) >= self._queue:
            return
        waiting.setdefault(self.stored.store.key(read), read)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="reasoning", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or len(self))
                if self._closed:
                    return
                waiting, make = (
                    (self._states, self.stored.make_states)
                    if self._states
                    else (self._statements, self.stored.make_statements)
                )
                batch = [waiting.pop(key) for key in list(waiting)[: self._batch]]
            try:
                made = make(batch)
                if self.on_made is not None:
                    self.on_made(made)
            except Exception as error:
                self._log(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, self._retry)

    def _log(self, error: Exception) -> None:
        """Log an error the first time that it occurs."""
        line = f"{type(error).__name__}: {in_a_line(error)}"
        if line not in self._logged:
            self._logged.add(line)
            expected = isinstance(error, DeftRecError)
            LOGGER.warning("reasoning failed: %s", line, exc_info=None if expected else error)
