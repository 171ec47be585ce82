"""What a person sees while work goes on: bars where stderr is a terminal, now and then a plain line where it is not.

Results go to stdout, everything here to stderr.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from deftrec.errors import MissingExtraError
from deftrec.progress import Progress

PLAIN_SECONDS = 5.0
"""Least time between two plain lines of one count."""
PLAIN_WIDTH = 120
DOWNLOAD = "downloading"

FIGURES = {
    "loss": "loss {:.4f}",
    "validation ndcg@10": "validation NDCG@10 {:.4f}",
    "seconds": "{:.1f} s",
    "matrix share": "{:.1%} of the matrix rate",
}
"""What is shown of an epoch's figures, and how."""


class Stopped(Exception):  # noqa: N818 - it is no error
    """Somebody pressed Ctrl-C; the message says how to go on."""


class Listener(Progress, Protocol):
    """`Progress` that is told of downloads too."""

    def bytes(self, done: int, total: int | None) -> None:
        """A download has come to `done` bytes of `total`, where that is known."""


@contextmanager
def listening() -> Iterator[Listener]:
    """Whoever shows progress to this stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        _Count(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    with RichProgress(*columns, console=console) as bar:
        yield Bars(bar)


@contextmanager
def working(progress: Progress, what: str) -> Iterator[None]:
    """Show that `what` goes on, for work that cannot tell how far it is."""
    progress.begin(what, 0)
    try:
        yield
    finally:
        progress.end(what)


def page_if_possible(draw: Callable[[], Path], progress: Progress, called: str = "page") -> Path | None:
    """The path of the page that `draw` writes; None, said in a line, where plots cannot be drawn."""
    try:
        with working(progress, "drawing the report"):
            return draw()
    except MissingExtraError as error:
        progress.say(f"no {called}: {error}")
        return None


def output() -> Console:
    """The console of results: stdout, wide enough for a table where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


class Bars:
    """Progress as bars: one a task, and those of counted work stay when it is over."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def begin(self, task: str, total: int) -> None:
        """See `Progress.begin`; a task of 0 units only shows that it goes on."""
        self._tasks[task] = self._bar.add_task(task, total=total or None, figures="", unit="")

    def advance(self, task: str, units: int = 1, values: Mapping[str, float] | None = None) -> None:
        """See `Progress.advance`."""
        self._bar.update(self._tasks[task], advance=units)
        if values:
            short = figures({key: values[key] for key in ("loss", "validation ndcg@10") if key in values})
            self._bar.update(self._tasks[task], figures=short.replace("validation ", ""))

    def end(self, task: str) -> None:
        """See `Progress.end`."""
        number = self._tasks.pop(task)
        state = next(one for one in self._bar.tasks if one.id == number)
        if state.total is None or not state.completed:
            self._bar.remove_task(number)
        else:  # training may stop before its horizon
            self._bar.update(number, total=state.completed)
            self._bar.stop_task(number)

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        self._bar.console.print(text, markup=False, highlight=False)

    def bytes(self, done: int, total: int | None) -> None:
        """See `Listener.bytes`."""
        if DOWNLOAD not in self._tasks:
            self._tasks[DOWNLOAD] = self._bar.add_task(DOWNLOAD, total=total, figures="", unit="bytes")
        self._bar.update(self._tasks[DOWNLOAD], completed=done, total=total)


class Lines:
    """Progress as lines: one at the end of every epoch, else one in five seconds at most."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._began: dict[str, float] = {}
        self._told: set[str] = set()
        self._said = time.monotonic()

    def begin(self, task: str, total: int) -> None:
        """See `Progress.begin`; a task of 0 units is only named."""
        self._totals[task], self._done[task], self._began[task] = total, 0, time.monotonic()
        if not total:
            self.say(task)

    def advance(self, task: str, units: int = 1, values: Mapping[str, float] | None = None) -> None:
        """See `Progress.advance`."""
        self._done[task] += units
        count = f"{task} {self._done[task]:,}/{self._totals[task]:,}"
        if values:
            self._told.add(task)
            self.say(f"{count}  {figures(values)}")
        elif time.monotonic() - self._said > PLAIN_SECONDS:
            self.say(count)

    def end(self, task: str) -> None:
        """See `Progress.end`."""
        if self._totals.pop(task) and task not in self._told:
            self.say(f"{task} {self._done[task]:,} in {time.monotonic() - self._began[task]:.1f} s")

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        print(text, file=sys.stderr, flush=True)
        self._said = time.monotonic()

    def bytes(self, done: int, total: int | None) -> None:
        """See `Listener.bytes`."""
        if time.monotonic() - self._said > PLAIN_SECONDS:
            self.say(f"{DOWNLOAD} {decimal(done)}" + (f" of {decimal(total)}" if total else ""))


def figures(values: Mapping[str, float]) -> str:
    """The figures of an epoch that tell how training goes, in one line."""
    return "  ".join(form.format(values[key]) for key, form in FIGURES.items() if key in values)


class _Count(ProgressColumn):
    """Units done of all, bytes as such; nothing where they are not counted."""

    def render(self, task: Task) -> Text:
        """See `ProgressColumn.render`."""
        if task.fields["unit"] == "bytes":
            done, total = int(task.completed), task.total
            return Text(decimal(done) + (f"/{decimal(int(total))}" if total else ""))
        return Text("" if task.total is None else f"{int(task.completed):,}/{int(task.total):,}")
