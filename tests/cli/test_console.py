"""Bars on a terminal, lines elsewhere; both understand the same calls."""

import io
from itertools import pairwise

import pytest
from rich.console import Console
from rich.progress import Progress

from deftrec.cli import console
from deftrec.cli.console import Bars, Lines, figures, listening, working
from deftrec.cli.remaining import Remaining, duration
from deftrec.cli.tables import metrics_table
from deftrec.evaluation import Result
from deftrec.formatting import COLUMNS


def test_figures_name_what_matters() -> None:
    row = {"loss": 3.14159, "error": 1.0, "validation ndcg@10": 0.08125, "seconds": 2.26}
    assert figures(row) == "loss 3.1416  validation NDCG@10 0.0813  2.3 s"
    assert figures({"error": 1.0}) == ""


def test_lines_are_rare_but_for_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begin("text", 1000)
    for _ in range(1000):
        lines.advance("text")
    lines.end("text")
    lines.begin("joint", 3)
    lines.advance("joint", 1, {"loss": 2.0})
    lines.advance("joint", 1, {"loss": 1.0, "validation ndcg@10": 0.5})
    lines.end("joint")
    assert capsys.readouterr().err.splitlines() == [
        "text 1,000 in 0.0 s",
        "joint 1/3  loss 2.0000",
        "joint 2/3  loss 1.0000  validation NDCG@10 0.5000",
    ]


def test_lines_count_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0.0)
    lines = Lines()
    lines.begin("users", 10)
    lines.advance("users", 4)
    lines.bytes(1_500_000, 3_000_000)
    assert capsys.readouterr().err.splitlines() == ["users 4/10", "downloading 1.5 MB of 3.0 MB"]


def test_off_a_terminal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with listening() as progress, working(progress, "reading [x]"):
        assert isinstance(progress, Lines)
    assert capsys.readouterr().err == "reading [x]\n"


def test_bars_show_counts_and_figures_and_keep_finished_stages() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=140)
    with Progress(*(column for column in ("{task.description}", "{task.fields[figures]}")), console=screen) as bar:
        bars = Bars(bar)
        bars.begin("joint", 10)
        bars.batch("joint", 0.5)
        bars.advance("joint", 4, {"loss": 1.25, "validation ndcg@10": 0.05, "seconds": 9.0})
        bars.end("joint")
        bars.begin("loading", 0)
        bars.end("loading")
        bars.bytes(10, None)
        bars.bytes(20, 40)
        bars.say("[i]a word[/i]")
        tasks = {task.description: task for task in bar.tasks}
    assert set(tasks) == {"joint", "downloading"}
    assert tasks["joint"].finished, "training stopped before its horizon, and is over"
    assert tasks["joint"].fields["figures"] == "loss 1.2500  NDCG@10 0.0500"
    assert (tasks["downloading"].completed, tasks["downloading"].total) == (20, 40)
    assert "[i]a word[/i]" in screen.file.getvalue()  # type: ignore[attr-defined]


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with listening() as progress:
        assert isinstance(progress, Bars)
        progress.begin("users", 5)
        progress.advance("users", 2)


@pytest.mark.parametrize(("width", "last"), [(80, "HR@50"), (104, "coverage@10")])
def test_tables_fit_the_terminal_without_a_cut(width: int, last: str) -> None:
    result = Result(
        name="deftrec/latent",
        dataset="ring",
        protocol="leave-one-out",
        split="test",
        seen="exclude",
        fit="train",
        users=1000,
        metrics=dict.fromkeys(COLUMNS, 0.12345),
        ci95=dict.fromkeys(COLUMNS, (0.1, 0.2)),
    )
    screen = Console(file=io.StringIO(), width=width)
    screen.print(metrics_table([result, result], width))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert last in shown
    assert "…" not in shown
    rows = [line for line in shown.splitlines() if "deftrec/latent" in line]
    assert all("0.1235 (0.100 to 0.200)" in row or "0.1234 (0.100 to 0.200)" in row for row in rows)
    assert len(rows) == 2


def test_a_silent_task_writes_a_line_in_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    lines = Lines()
    written: dict[float, str] = {}
    lines.begin("joint", 4)
    for half_seconds in range(61):
        now[0] = 100.0 + half_seconds / 2
        lines.pulse()
        if said := capsys.readouterr().err:
            written[half_seconds / 2] = said
    assert next(iter(written)) == 2.0, "the first line comes within two seconds"
    times = [*written, 30.0]
    assert all(later - sooner <= 10 for sooner, later in pairwise(times))
    assert written[2.0] == "joint 0/4, 2 s so far\n"
    lines.end("joint")
    capsys.readouterr()
    now[0] += 100
    lines.pulse()
    assert not capsys.readouterr().err, "nothing is under way"


def test_batches_and_the_remaining_time_are_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    lines = Lines()
    lines.expect({"joint": 40.0, "prior": 25.0})
    lines.begin("joint", 2)
    for second in range(1, 21):
        now[0] = float(second)
        lines.batch("joint", second / 20)
    lines.advance("joint", 1, {"loss": 1.0})
    assert capsys.readouterr().err.splitlines() == [
        "joint 0/2 + 30%  (59 s left of all)",
        "joint 0/2 + 60%  (53 s left of all)",
        "joint 0/2 + 90%  (47 s left of all)",
        "joint 1/2  loss 1.0000  (45 s left of all)",
    ]


def test_the_remaining_time_follows_the_pace() -> None:
    now = [0.0]
    left = Remaining(lambda: now[0])
    assert left.seconds() is None
    left.expect({"joint": 10.0, "joint-2": 10.0, "prior": 5.0})
    left.begin("joint", 10)
    left.done("joint", 0)
    assert left.seconds() == 25
    now[0] = 4.0
    left.done("joint", 1)
    assert left.seconds() == pytest.approx(36 + 10 + 5), "four times slower than forecast"
    now[0] = 40.0
    left.done("joint", 10)
    left.end("joint")
    assert left.seconds() == pytest.approx(40 + 5), "another member is as slow"
    assert left.share() == pytest.approx(40 / 85)


def test_a_resumed_task_is_not_thought_fast() -> None:
    now = [0.0]
    left = Remaining(lambda: now[0])
    left.expect({"joint": 100.0})
    left.begin("joint", 10)
    left.done("joint", 5)
    now[0] = 10.0
    left.done("joint", 6)
    assert left.seconds() == pytest.approx(40)


def test_durations() -> None:
    assert [duration(value) for value in (0.4, 59.4, 61, 120, 754, 7500)] == [
        "0 s", "59 s", "1 min 1 s", "2 min", "12 min", "2 h 5 min",
    ]  # fmt: skip


def test_an_overdue_task_is_not_said_to_be_over() -> None:
    now = [0.0]
    left = Remaining(lambda: now[0])
    left.expect({"prior": 10.0})
    left.begin("prior", 5)
    now[0] = 20.0
    assert left.seconds() == pytest.approx(2)
    left.done("prior", 1)
    assert left.seconds() == pytest.approx(80), "by its own pace"
