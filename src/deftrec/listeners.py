"""Listeners of long work in Python: progress bars for notebooks and terminals, and functions called at every epoch."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from deftrec.progress import Progress, Silent

Callback: TypeAlias = Callable[[str, Mapping[str, float]], object]
"""Called at the end of every epoch with the stage and its figures: `epoch` (from 1), `loss`, `seconds`, and where it
was measured `validation ndcg@10`. An exception ends the training, which `fit(resume=True)` continues."""


class ProgressBars(Progress):
    """One bar for each task, by tqdm: a widget in a notebook, text in a terminal."""

    def __init__(self) -> None:
        from tqdm.auto import tqdm  # which warns in a notebook without widgets

        self._tqdm, self._bars = tqdm, dict[str, Any]()
        self._done: dict[str, float] = {}

    def begin(self, task: str, total: int) -> None:
        """See `Progress.begin`."""
        self._done[task], self._bars[task] = 0.0, self._tqdm(desc=task, total=total or None, leave=bool(total))

    def advance(self, task: str, units: int = 1, values: Mapping[str, float] | None = None) -> None:
        """See `Progress.advance`."""
        self._done[task] += units
        if values:
            shown = {name: f"{value:.4f}" for name, value in values.items() if name in {"loss", "validation ndcg@10"}}
            self._bars[task].set_postfix(shown, refresh=False)
        self._move(task, self._done[task])

    def batch(self, task: str, share: float) -> None:
        """See `Progress.batch`."""
        self._move(task, self._done[task] + min(share, 0.999))

    def end(self, task: str) -> None:
        """See `Progress.end`."""
        self._bars.pop(task).close()

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        self._tqdm.write(text, file=sys.stderr)

    def _move(self, task: str, done: float) -> None:
        bar = self._bars[task]
        bar.n = int(done) if done == int(done) else round(done, 2)
        bar.update(0)  # which draws it if it is time to


class Callbacks(Progress):
    """Calls functions at the end of every epoch, and passes everything on to another listener."""

    def __init__(self, callbacks: Sequence[Callback], progress: Progress) -> None:
        self._callbacks, self._progress = callbacks, progress
        self._done: dict[str, float] = {}

    def expect(self, seconds: Mapping[str, float]) -> None:
        """See `Progress.expect`."""
        self._progress.expect(seconds)

    def begin(self, task: str, total: int) -> None:
        """See `Progress.begin`."""
        self._done[task] = 0
        self._progress.begin(task, total)

    def advance(self, task: str, units: int = 1, values: Mapping[str, float] | None = None) -> None:
        """See `Progress.advance`."""
        self._done[task] += units
        self._progress.advance(task, units, values)
        for callback in self._callbacks if values else ():
            callback(task, {"epoch": self._done[task], **(values or {})})

    def batch(self, task: str, share: float) -> None:
        """See `Progress.batch`."""
        self._progress.batch(task, share)

    def end(self, task: str) -> None:
        """See `Progress.end`."""
        self._progress.end(task)

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        self._progress.say(text)


def listener(progress: Progress | bool | None, callbacks: Sequence[Callback] = ()) -> Progress:
    """The listener for `progress` (True: bars; False or None: none) and `callbacks`."""
    shown = progress if isinstance(progress, Progress) else ProgressBars() if progress else Silent()
    return Callbacks(callbacks, shown) if callbacks else shown
