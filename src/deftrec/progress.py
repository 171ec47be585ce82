"""Reports of long work to whoever listens: the command line, a test, or nobody."""

from collections.abc import Mapping


class Progress:
    """Listener of long work; a subclass shows what it wants of it, as bars or lines."""

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Add the expected seconds of tasks that have not begun, by task name; the sum gives the remaining time."""

    def begin(self, task: str, total: int) -> None:
        """Start a task of `total` units; 0 if its units cannot be counted."""

    def advance(self, task: str, units: int = 1, values: Mapping[str, float] | None = None) -> None:
        """Count `units` more as done; `values` are the current figures of the task (loss, rate)."""

    def batch(self, task: str, share: float) -> None:
        """Report the share of the current unit (an epoch) that is done, from 0 to 1."""

    def end(self, task: str) -> None:
        """End a task, complete or not."""

    def say(self, text: str) -> None:
        """Show one line of text."""


class Silent(Progress):
    """Listener that ignores everything."""


class Labelled(Progress):
    """Listener that puts `label` before the name of every task and before every line, and passes them on."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def expect(self, seconds: Mapping[str, float]) -> None:
        """See `Progress.expect`."""
        self._progress.expect({f"{self._label}: {task}": value for task, value in seconds.items()})

    def begin(self, task: str, total: int) -> None:
        """See `Progress.begin`."""
        self._progress.begin(f"{self._label}: {task}", total)

    def advance(self, task: str, units: int = 1, values: Mapping[str, float] | None = None) -> None:
        """See `Progress.advance`."""
        self._progress.advance(f"{self._label}: {task}", units, values)

    def batch(self, task: str, share: float) -> None:
        """See `Progress.batch`."""
        self._progress.batch(f"{self._label}: {task}", share)

    def end(self, task: str) -> None:
        """See `Progress.end`."""
        self._progress.end(f"{self._label}: {task}")

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        self._progress.say(f"{self._label}: {text}")
