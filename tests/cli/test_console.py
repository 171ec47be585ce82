"""Bars on a terminal, lines elsewhere; both understand the same calls."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from deftrec.cli import console
from deftrec.cli.console import Bars, Lines, be_verbose, figures, listening, working
from deftrec.cli.remaining import Remaining, duration


def test_figures_name_what_matters() -> None:
    row = {"loss": 3.14159, "error": 1.0, "validation ndcg@10": 0.08125, "seconds": 2.26}
    assert figures(row) == "loss 3.1416  validation NDCG@10 0.0813  2.3 s each"
    assert figures({"error": 1.0}) == ""


def test_the_share_of_the_matrix_rate_is_for_the_verbose() -> None:
    row = {"loss": 1.0, "matrix share": 0.317}
    assert figures(row) == "loss 1.0000"
    be_verbose(True)
    assert figures(row) == "loss 1.0000  31.7% of the matrix rate"
    be_verbose(False)


def test_the_end_of_a_task_has_its_last_figures(capsys: pytest.CaptureFixture[str]) -> None:
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
        "joint 2 in 0.0 s  loss 1.0000  validation NDCG@10 0.5000",
    ]


def test_a_download_says_its_first_bytes_soon(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    lines = Lines()
    for second in range(61):
        now[0] = float(second)
        lines.bytes(100_000 * second, 6_000_000)
    said = capsys.readouterr().err.splitlines()
    assert said == ["downloading 200.0 kB of 6.0 MB", "downloading 3.3 MB of 6.0 MB"], "after 2 and 33 seconds"


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


def test_a_silent_task_writes_a_line_in_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    lines = Lines()
    written: dict[float, str] = {}
    lines.begin("joint", 4)
    for half_seconds in range(201):
        now[0] = 100.0 + half_seconds / 2
        lines.pulse()
        if said := capsys.readouterr().err:
            written[half_seconds / 2] = said
    assert next(iter(written)) == 2.0, "the first line comes within two seconds"
    assert list(written) == [2.0, 32.0, 62.0, 92.0], "one line in half a minute"
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
    for second in range(1, 41):
        now[0] = float(second)
        if second == 21:
            lines.advance("joint", 1, {"loss": 1.0})
        else:
            lines.batch("joint", second % 20 / 20)
    assert capsys.readouterr().err.splitlines() == [
        "joint 0/2 + 10%, 2 s so far  (1 min 3 s left of all)",
        "joint 1/2 + 60%, 32 s so far  loss 1.0000  (33 s left of all)",
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
