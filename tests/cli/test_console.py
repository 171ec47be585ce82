"""Bars on a terminal, lines elsewhere; both understand the same calls."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from deftrec.cli import console
from deftrec.cli.console import Bars, Lines, figures, listening, working
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
