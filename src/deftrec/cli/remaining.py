"""Remaining time of a run, from the expected seconds of its tasks and the pace of the current one."""

import itertools
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

TRUST = 10.0
"""A task's own pace replaces the expected one linearly, and alone counts once 1 / TRUST of the task is done."""
AT_ONCE = 0.1  # seconds after the beginning in which a task reports what was done before
OVERDUE = 0.1  # remaining share of the elapsed time of a task that runs longer than expected
MEMBER = re.compile(r"(-\d+)?$")  # number of an ensemble's member at the end of a task's name


@dataclass
class Running:
    """A task of `total` units (0: not counted), of which `done` were done at the moment `reported`.

    `first` is the moment and the number of units of the first report.
    """

    total: int
    began: float
    reported: float = 0.0
    done: float = 0.0
    first: tuple[float, float] | None = None


class Remaining:
    """Remaining seconds of all tasks that are expected.

    Tasks that are members of an ensemble (`joint`, `joint-2`) are alike: the second is expected to take as much
    longer or shorter than forecast as the first did. `running` holds the tasks that have begun, by name.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock, self._spent = clock or time.monotonic, 0.0
        self.running: dict[str, Running] = {}
        self._expected: dict[str, float] = {}
        self._ratio: dict[str, float] = {}

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Add tasks that have not begun, by name."""
        self._expected |= seconds

    def begin(self, task: str, total: int) -> None:
        """Start the clock of a task of `total` units, 0 if they cannot be counted.

        Tasks that were expected before it and have not begun are expected no longer: another run had done them.
        """
        if task in self._expected:
            for earlier in itertools.takewhile(lambda other: other != task, list(self._expected)):
                if earlier not in self.running:
                    del self._expected[earlier]
        self.running[task] = Running(total, self._clock())

    def add(self, task: str, units: float) -> None:
        """Count `units` more than the whole ones as done; a number below 1 is the share of the current unit."""
        self.done(task, int(self.running[task].done) + units)

    def done(self, task: str, units: float) -> None:
        """Set the units of a task that are done, with the share of the current one."""
        one = self.running[task]
        one.reported, one.done = self._clock(), units
        if one.first is None:  # a report at once is what an interrupted run had done, and no pace
            one.first = (one.began, 0.0) if one.reported - one.began > AT_ONCE else (one.reported, units)

    def end(self, task: str) -> None:
        """Stop the clock of a task; it is expected no longer."""
        seconds = self._clock() - self.running.pop(task).began
        if expected := self._expected.pop(task, 0.0):
            self._ratio[MEMBER.sub("", task)] = seconds / expected
            self._spent += seconds

    def seconds(self) -> float | None:
        """Remaining seconds of all tasks; None if no task is expected."""
        return sum(self._left(task) for task in self._expected) if self._expected else None

    def share(self) -> float:
        """Share of the whole time that has passed, from 0 to 1."""
        running = (one for task, one in self.running.items() if task in self._expected)
        spent, left = self._spent + sum(self._clock() - one.began for one in running), self.seconds() or 0.0
        return spent / (spent + left) if spent + left else 0.0

    def _left(self, task: str) -> float:
        expected = self._expected[task] * self._ratio.get(MEMBER.sub("", task), 1.0)
        if task not in self.running:
            return expected
        one = self.running[task]
        spent = self._clock() - one.began
        by_forecast = max(OVERDUE * spent, expected - spent)
        if not one.total or one.first is None or one.done <= one.first[1]:
            return by_forecast
        units, seconds = one.done - one.first[1], one.reported - one.first[0]
        by_pace = max(0.0, seconds / units * (one.total - one.done) - (self._clock() - one.reported))
        trust = min(1.0, TRUST * units / one.total)
        return (1 - trust) * by_forecast + trust * by_pace


def duration(seconds: float) -> str:
    """Seconds as people say them: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole < 600 and whole % 60 else "")
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plan(seconds: Mapping[str, float]) -> str:
    """Tasks with their expected seconds, and the sum, in one line."""
    tasks = ", ".join(f"{task} {duration(value)}" for task, value in seconds.items())
    return f"{tasks}; about {duration(sum(seconds.values()))}"
