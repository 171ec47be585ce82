"""How long work says how far it is, without knowing who listens."""

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Listener of long work; the command line draws bars, a test may count, `Silent` does nothing."""

    def begin(self, task: str, total: int) -> None:
        """A task of `total` units starts."""

    def advance(self, task: str, units: int = 1, values: Mapping[str, float] | None = None) -> None:
        """`units` more are done; `values` are its current figures (loss, rate)."""

    def end(self, task: str) -> None:
        """The task is over, complete or not."""

    def say(self, text: str) -> None:
        """One line for the person who waits."""


class Silent:
    """Listens to nothing."""

    def begin(self, task: str, total: int) -> None:
        """See `Progress.begin`."""

    def advance(self, task: str, units: int = 1, values: Mapping[str, float] | None = None) -> None:
        """See `Progress.advance`."""

    def end(self, task: str) -> None:
        """See `Progress.end`."""

    def say(self, text: str) -> None:
        """See `Progress.say`."""


class Labelled:
    """Passes everything on under a label, where one listener hears of several works.

    Args:
        progress: who listens.
        label: stands before every task and line.
    """

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def begin(self, task: str, total: int) -> None:
        """See `Progress.begin`."""
        self._progress.begin(f"{self._label}: {task}", total)

    def advance(self, task: str, units: int = 1, values: Mapping[str, float] | None = None) -> None:
        """See `Progress.advance`."""
        self._progress.advance(f"{self._label}: {task}", units, values)

    def end(self, task: str) -> None:
        """See `Progress.end`."""
        self._progress.end(f"{self._label}: {task}")

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        self._progress.say(f"{self._label}: {text}")
