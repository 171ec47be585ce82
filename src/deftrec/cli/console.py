"""Progress on the terminal: bars where stderr is a terminal, plain lines where it is not. Results go to stdout."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from deftrec.cli.remaining import Remaining, Running, duration
from deftrec.errors import MissingExtraError
from deftrec.progress import Progress

PLAIN_SECONDS = 5.0  # least time between two plain lines of one count
FIRST_SECONDS, SILENT_SECONDS = 1.5, 8.0  # longest silence of plain lines after a task has begun, and between two lines
PLAIN_WIDTH = 120
DOWNLOAD = "downloading"

FIGURES = {
    "loss": "loss {:.4f}",
    "validation ndcg@10": "validation NDCG@10 {:.4f}",
    "seconds": "{:.1f} s",
    "matrix share": "{:.1%} of the matrix rate",
}
"""Figures of an epoch that are shown, and their format."""


class Stopped(Exception):  # noqa: N818 - it is no error
    """Interruption by Ctrl-C; the message says how to continue."""


class Listener(Progress):
    """`Progress` with the remaining time and downloads. A subclass shows them; threads report one after the other."""

    def __init__(self) -> None:
        self._remaining, self._lock = Remaining(), threading.RLock()

    def expect(self, seconds: Mapping[str, float]) -> None:
        """See `Progress.expect`."""
        with self._lock:
            self._remaining.expect(seconds)
            self._show(None, None)

    def begin(self, task: str, total: int) -> None:
        """See `Progress.begin`."""
        with self._lock:
            self._remaining.begin(task, total)
            self._start(task, total)

    def advance(self, task: str, units: float = 1, values: Mapping[str, float] | None = None) -> None:
        """See `Progress.advance`."""
        with self._lock:
            self._remaining.add(task, units)
            self._show(task, values)

    def batch(self, task: str, share: float) -> None:
        """See `Progress.batch`."""
        self.advance(task, min(share, 0.999))

    def end(self, task: str) -> None:
        """See `Progress.end`."""
        with self._lock:
            one = self._remaining.running[task]
            self._remaining.end(task)
            self._finish(task, one)

    def bytes(self, done: int, total: int | None) -> None:
        """Report `done` bytes of a download; `total` is None where it is unknown."""

    def _start(self, task: str, total: int) -> None: ...

    def _show(self, task: str | None, values: Mapping[str, float] | None) -> None: ...

    def _finish(self, task: str, one: Running) -> None: ...


@contextmanager
def listening() -> Iterator[Listener]:
    """The listener that suits stderr: bars on a terminal, else plain lines, which a thread keeps from being silent."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            _Count(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[figures]}", markup=False),
        )
        with RichProgress(*columns, console=console) as bar:
            yield Bars(bar)
        return
    lines, over = Lines(), threading.Event()

    def pulse() -> None:
        while not over.wait(0.5):
            lines.pulse()

    thread = threading.Thread(target=pulse, name="progress", daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        over.set()
        thread.join()


@contextmanager
def working(progress: Progress, what: str) -> Iterator[None]:
    """Show the task `what`, whose units cannot be counted, while the block runs."""
    progress.begin(what, 0)
    try:
        yield
    finally:
        progress.end(what)


def page_if_possible(draw: Callable[[], Path], progress: Progress, called: str = "page") -> Path | None:
    """The path of the page that `draw` writes; None, with a line that says so, where plots cannot be drawn."""
    try:
        with working(progress, "drawing the report"):
            return draw()
    except MissingExtraError as error:
        progress.say(f"no {called}: {error}")
        return None


def output() -> Console:
    """The console of results: stdout, wide enough for a table where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


class Bars(Listener):
    """Progress as bars, one for each task; bars of counted tasks stay after the end."""

    def __init__(self, bar: RichProgress) -> None:
        super().__init__()
        self._bar, self._tasks = bar, dict[str, TaskID]()
        self._whole: TaskID | None = None

    def _start(self, task: str, total: int) -> None:
        self._tasks[task] = self._bar.add_task(task, total=total or None, figures="", unit="")

    def _show(self, task: str | None, values: Mapping[str, float] | None) -> None:
        """Update the bar of a task and that of the whole run."""
        if task is not None:
            self._bar.update(self._tasks[task], completed=self._remaining.running[task].done)
        if task is not None and values:
            short = figures({key: values[key] for key in ("loss", "validation ndcg@10") if key in values})
            self._bar.update(self._tasks[task], figures=short.replace("validation ", ""))
        left = self._remaining.seconds()
        if self._whole is None and left is not None:
            self._whole = self._bar.add_task("whole run", total=1.0, figures="", unit="share")
        if self._whole is not None:
            share = self._remaining.share()
            self._bar.update(self._whole, completed=share, figures=f"{duration(left)} left" if left else "")

    def _finish(self, task: str, one: Running) -> None:
        number = self._tasks.pop(task)
        if one.total and one.done:  # training may stop before its horizon
            self._bar.update(number, total=one.done)
            self._bar.stop_task(number)
        else:
            self._bar.remove_task(number)
        self._show(None, None)

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        self._bar.console.print(text, markup=False, highlight=False)

    def bytes(self, done: int, total: int | None) -> None:
        """See `Listener.bytes`."""
        if DOWNLOAD not in self._tasks:
            self._tasks[DOWNLOAD] = self._bar.add_task(DOWNLOAD, total=total, figures="", unit="bytes")
        self._bar.update(self._tasks[DOWNLOAD], completed=done, total=total)


class Lines(Listener):
    """Progress as lines: one at the end of every epoch, else one after five seconds.

    `pulse` writes a line where a task has reported nothing for `SILENT_SECONDS`; a thread calls it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said, self._named, self._with_figures = time.monotonic(), set[str](), set[str]()

    def _start(self, task: str, total: int) -> None:
        self._named.discard(task)
        if not total:
            self._say_of(task, "")

    def _show(self, task: str | None, values: Mapping[str, float] | None) -> None:
        if task is not None and values:
            self._with_figures.add(task)
            self._say_of(task, f"  {figures(values)}{self._left()}")
        elif task is not None and time.monotonic() - self._said > PLAIN_SECONDS:
            self._say_of(task, self._left())

    def _finish(self, task: str, one: Running) -> None:
        if one.total and task not in self._with_figures:
            self.say(f"{task} {int(one.done):,} in {time.monotonic() - one.began:.1f} s")

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        with self._lock:
            print(text, file=sys.stderr, flush=True)
            self._said = time.monotonic()

    def bytes(self, done: int, total: int | None) -> None:
        """See `Listener.bytes`."""
        if time.monotonic() - self._said > PLAIN_SECONDS:
            self.say(f"{DOWNLOAD} {decimal(done)}" + (f" of {decimal(total)}" if total else ""))

    def pulse(self) -> None:
        """Write the state of the task that began last, if it has been silent for too long."""
        with self._lock:
            for task, one in list(self._remaining.running.items())[-1:]:
                now = time.monotonic()
                first = task not in self._named and now - one.began > FIRST_SECONDS
                if first or now - self._said > SILENT_SECONDS:
                    self._say_of(task, f", {now - one.began:.0f} s so far{self._left()}")

    def _say_of(self, task: str, rest: str) -> None:
        """Write the count of a task, followed by `rest`."""
        self._named.add(task)
        one = self._remaining.running[task]
        if one.total:
            share = one.done - int(one.done)
            rest = f" {int(one.done):,}/{one.total:,}" + (f" + {share:.0%}" if share else "") + rest
        self.say(task + rest)

    def _left(self) -> str:
        left = self._remaining.seconds()
        return "" if left is None else f"  ({duration(left)} left of all)"


def figures(values: Mapping[str, float]) -> str:
    """The figures of an epoch that are shown, in one line."""
    return "  ".join(form.format(values[key]) for key, form in FIGURES.items() if key in values)


class _Count(ProgressColumn):
    """Units done of all, or bytes; empty where they are not counted."""

    def render(self, task: Task) -> Text:
        """See `ProgressColumn.render`."""
        if task.fields["unit"] == "share":
            return Text(f"{task.completed:.0%}")
        if task.fields["unit"] == "bytes":
            done, total = int(task.completed), task.total
            return Text(decimal(done) + (f"/{decimal(int(total))}" if total else ""))
        return Text("" if task.total is None else f"{int(task.completed):,}/{int(task.total):,}")
