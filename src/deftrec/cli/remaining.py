"""Remaining time of a run, from the expected seconds of its tasks and the pace of the current one."""

import re
import time
from collections.abc import Callable, Mapping

TRUST = 10.0
"""A task's own pace replaces the expected one linearly, and alone counts once 1 / TRUST of the task is done."""
AT_ONCE = 0.1
"""Seconds after the beginning in which a task reports what was done before."""
OVERDUE = 0.1
"""Remaining share of the time that a task has taken, once it has taken longer than expected."""
MEMBER = re.compile(r"(-\d+)?$")


class Remaining:
    """Remaining seconds of all tasks that are expected.

    Tasks that are members of an ensemble (`joint`, `joint-2`) are alike: the second is expected to take as much
    longer or shorter than forecast as the first did.

    Args:
        clock: function that returns the seconds since any fixed moment; None: `time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or time.monotonic
        self._expected: dict[str, float] = {}
        self._ratio: dict[str, float] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._reports: dict[str, list[tuple[float, float]]] = {}
        self._spent = 0.0

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Add tasks that have not begun, by name."""
        self._expected |= seconds

    def begin(self, task: str, total: int) -> None:
        """Start the clock of a task of `total` units, 0 if they cannot be counted.

        Tasks that were expected before it and have not begun are expected no longer: another run had done them.
        """
        if task in self._expected:
            for earlier in list(self._expected):
                if earlier == task:
                    break
                if earlier not in self._began:
                    del self._expected[earlier]
        self._began[task], self._reports[task] = (self._clock(), total), []

    def done(self, task: str, units: float) -> None:
        """Set the units of a task that are done, with the share of the current one."""
        now, began = self._clock(), self._began[task][0]
        first = self._reports[task][:1]
        if not first and now - began > AT_ONCE:
            first = [(began, 0.0)]  # else the first report is what an interrupted run had done, and no pace
        self._reports[task] = [*first, (now, units)]

    def end(self, task: str) -> None:
        """Stop the clock of a task; it is expected no longer."""
        seconds = self._clock() - self._began.pop(task)[0]
        if expected := self._expected.pop(task, 0.0):
            self._ratio[_kind(task)] = seconds / expected
            self._spent += seconds

    def seconds(self) -> float | None:
        """Remaining seconds of all tasks; None if no task is expected."""
        if not self._expected:
            return None
        return sum(self._left(task) for task in self._expected)

    def share(self) -> float:
        """Share of the whole time that has passed, from 0 to 1."""
        running = sum(self._clock() - self._began[task][0] for task in self._expected if task in self._began)
        spent, left = self._spent + running, self.seconds() or 0.0
        return spent / (spent + left) if spent + left else 0.0

    def _left(self, task: str) -> float:
        expected = self._expected[task] * self._ratio.get(_kind(task), 1.0)
        if task not in self._began:
            return expected
        began, total = self._began[task]
        spent, reports = self._clock() - began, self._reports[task]
        by_forecast = max(OVERDUE * spent, expected - spent)
        if not total or len(reports) < 2 or reports[1][1] <= reports[0][1]:
            return by_forecast
        (first, before), (last, done) = reports
        by_pace = max(0.0, (last - first) / (done - before) * (total - done) - (self._clock() - last))
        trust = min(1.0, TRUST * (done - before) / total)
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


def _kind(task: str) -> str:
    """Name of a task without the number of its member."""
    return MEMBER.sub("", task)
