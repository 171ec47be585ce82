"""Progress on the terminal: bars where stderr is a terminal, plain lines where it is not. Results go to stdout."""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python
from rich.console import Console, ConsoleOptions, RenderableType
from rich.filesize import decimal
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.segment import Segment
from rich.table import Column
from rich.text import Text

from deftrec.cli.remaining import Remaining, Running, duration
from deftrec.errors import MissingExtraError
from deftrec.files import write_text
from deftrec.progress import Progress

PLAIN_SECONDS = 30.0  # time between two plain lines on the state of a task
FIRST_SECONDS = 1.5  # time after which a task that has begun has its first line
PLAIN_WIDTH = 140
BAR_ROOM = 100  # least width of a terminal on which there is room for the bar itself
DOWNLOAD = "downloading"
COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # characters that a terminal takes for commands

FIGURES = {
    "loss": "loss {:.4f}",
    "validation ndcg@10": "validation NDCG@10 {:.4f}",
    "seconds": "{:.1f} s each",
    "matrix share": "{:.1%} of the matrix rate",
}
"""Figures of an epoch that are shown, and their format."""
VERBOSE_FIGURES = {"matrix share"}  # shown with --verbose


_verbose = False


def be_verbose(verbose: bool) -> None:
    """Show more figures of the work from now on, or no longer."""
    global _verbose
    _verbose = verbose


def is_verbose() -> bool:
    """Whether the user wants more figures of the work."""
    return _verbose


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
        with RichProgress(*bar_columns(console.width), console=console) as bar:
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


def bar_columns(width: int) -> list[ProgressColumn]:
    """The columns of a bar of progress on a terminal of this width; texts are wrapped where they would be cut."""
    task, figures = (
        TextColumn(f"{{task.{name}}}", markup=False, table_column=Column(overflow="fold"))
        for name in ("description", "fields[figures]")
    )
    bar = [BarColumn(bar_width=16)] if width >= BAR_ROOM else []
    left = TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=Column(no_wrap=True))
    return [task, *bar, _Count(Column(no_wrap=True)), left, figures]


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


def give(result: Any, as_json: bool, file: Path | None) -> bool:
    """Write a result as JSON to `file`, if there is one, and print it if `as_json`; returns whether it was printed.

    A number that JSON does not have (NaN, infinity) becomes null.
    """
    if file is None and not as_json:
        return False
    text = json.dumps(to_jsonable_python(result, inf_nan_mode="null"), indent=2, ensure_ascii=False)
    if file is not None:
        write_text(file, text + "\n")
    if as_json:
        print(text)
    return as_json


def output() -> Console:
    """The console of results: stdout, as wide as the terminal or `COLUMNS`, else wide enough for a table."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return _Plain(width=width, highlight=False)


class _Plain(Console):
    """A console that writes no control character of a text: a title may hold commands for the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=COMMANDS.sub("", segment.text))


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
    """Progress as lines: one when a task ends, or begins whose units are not counted, and its state now and then.

    The first state comes `FIRST_SECONDS` after the beginning, later ones `PLAIN_SECONDS` after the last line. A thread
    calls `pulse`, so that a task that reports nothing has lines too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said, self._named, self._figures = time.monotonic(), set[str](), dict[str, str]()

    def _start(self, task: str, total: int) -> None:
        self._named.discard(task)
        if not total:
            self._named.add(task)
            self.say(task)

    def _show(self, task: str | None, values: Mapping[str, float] | None) -> None:
        if task is not None:
            if values:
                self._figures[task] = f"  {figures(values)}"
            self._say_if_due(task)

    def _finish(self, task: str, one: Running) -> None:
        last = self._figures.pop(task, "")
        if one.total:
            self.say(f"{task} {int(one.done):,} in {time.monotonic() - one.began:.1f} s{last}")

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        with self._lock:
            try:
                print(text, file=sys.stderr, flush=True)
            except BrokenPipeError:
                raise
            except OSError:  # a full disk: the work matters more than its progress
                pass
            self._said = time.monotonic()

    def bytes(self, done: int, total: int | None) -> None:
        """See `Listener.bytes`."""
        if time.monotonic() - self._said > (PLAIN_SECONDS if DOWNLOAD in self._named else FIRST_SECONDS):
            self._named.add(DOWNLOAD)
            self.say(f"{DOWNLOAD} {decimal(done)}" + (f" of {decimal(total)}" if total else ""))

    def pulse(self) -> None:
        """Write the state of the task that began last, if it is due."""
        with self._lock:
            for task in list(self._remaining.running)[-1:]:
                self._say_if_due(task)

    def _say_if_due(self, task: str) -> None:
        """Write the units of a task that are done, its time and its figures, if enough time has passed."""
        one, now = self._remaining.running[task], time.monotonic()
        first = task not in self._named and now - one.began > FIRST_SECONDS
        if first or now - self._said >= PLAIN_SECONDS:
            self._named.add(task)
            share = one.done - int(one.done)
            count = f" {int(one.done):,}/{one.total:,}" + (f" + {share:.0%}" if share else "") if one.total else ""
            spent = f", {now - one.began:.0f} s so far"
            self.say(f"{task}{count}{spent}{self._figures.get(task, '')}{self._left()}")

    def _left(self) -> str:
        left = self._remaining.seconds()
        return "" if left is None else f"  ({duration(left)} left of all)"


def figures(values: Mapping[str, float]) -> str:
    """The figures of an epoch that are shown, in one line."""
    shown = FIGURES if _verbose else FIGURES.keys() - VERBOSE_FIGURES
    return "  ".join(form.format(values[key]) for key, form in FIGURES.items() if key in values and key in shown)


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
