"""Tables at 40, 60, 80 and 200 letters: nothing is cut, no column is left out."""

import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer
from calling import Call
from rich.console import Console
from rich.progress import Progress
from rich.table import Column
from rich.text import Text

from deftrec.cli import app
from deftrec.cli.console import Bars, bar_columns
from deftrec.cli.fitting import FittingTable
from deftrec.cli.tables import metrics_table
from deftrec.evaluation import Result
from deftrec.formatting import COLUMNS

WIDTHS = (40, 60, 80, 200)


def shown(renderable: object, width: int) -> str:
    screen = Console(file=io.StringIO(), width=width)
    screen.print(renderable)
    return screen.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def letters(text: str) -> str:
    """The text without spaces, line ends and lines that are drawn."""
    return re.sub(r"[\s─]", "", text)


def result(name: str) -> Result:
    return Result(
        name=name,
        dataset="ring",
        protocol="leave-one-out",
        split="test",
        seen="exclude",
        fit="train",
        users=1000,
        metrics=dict.fromkeys(COLUMNS, 0.12345),
        ci95=dict.fromkeys(COLUMNS, (0.1, 0.2)),
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_keeps_every_letter(width: int) -> None:
    columns = Column("rank", no_wrap=True), "item", "title", Column("score (95 % interval)", no_wrap=True)
    rows = [["1", "B00" + "x" * 60, "[b]A title[/b] " * 9, "0.5 (0.1 to 0.9)"], ["10", "i", "", "7"]]
    table = FittingTable(*columns)
    for row in rows:
        table.add_row(*row)
    text = shown(table, width)
    assert max(map(len, text.splitlines())) <= width
    whole = "rank item title score (95 % interval)" + " ".join(rows[0] + rows[1])
    assert Counter(letters(whole)) <= Counter(letters(text))
    assert "…" not in text


def test_a_table_of_three_widths_has_three_forms() -> None:
    table = FittingTable(
        Column("system", no_wrap=True), Column("HR@10 (95 % interval)", no_wrap=True), footer=["all", "1"]
    )
    table.add_row("ours", Text("0.5000 (0.400 to 0.600)"))
    assert "ours     0.5000 (0.400 to 0.600)" in shown(table, 60)
    broken = shown(table, 30)
    assert "ours            0.5000" not in broken
    assert re.search(r"ours +0.5000\s+\(0.400 to 0.600\)", broken)
    stacked = shown(table, 20)
    assert re.search(r"system +ours\s+HR@10", stacked)
    assert re.search(r"system +all", stacked)


@pytest.mark.parametrize("width", WIDTHS)
def test_metrics_have_all_columns(width: int) -> None:
    text = shown(metrics_table([result("deftrec"), result("deftrec/latent")]), width)
    assert max(map(len, text.splitlines())) <= width
    for name in ("HR@10", "NDCG@10", "HR@50", "MRR@100", "coverage@10", "deftrec/latent"):
        assert name in text
    assert letters(text).count("(0.100to0.200)") == 4


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("words", "headers"),
    [
        (["data", "describe", "{data}"], ["leave-one-out", "temporal", "users", "tenth"]),
        (["data", "list"], ["name", "size", "checksum", "licence", "citation"]),
        (["options", "retrieval"], ["option", "default", "meaning"]),
        (["doctor", "nano"], ["parameters", "memory", "work", "together", "MB"]),
        (["similar", "{run}", "--item", "i/101", "-k", "3"], ["rank", "item", "title", "score"]),
        (["recommend", "{run}", "--history", "i/101", "--explain"], ["rank", "item", "title", "score"]),
        (["evaluate", "{run}"], ["system", "HR@10", "MRR@100", "coverage@10"]),
    ],
)
def test_verbs_cut_nothing(
    deftrec: Call,
    data: Path,
    run: Path,
    words: list[str],
    headers: list[str],
    width: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    said = deftrec(*(word.format(data=data, run=run) for word in words))
    assert said.code == 0, said.err
    assert "…" not in said.out
    assert all(header in said.out for header in headers)
    wide = [line for line in said.out.splitlines() if len(line) > width]
    assert all("; recipes: " in line for line in wide), "a sentence, which the terminal wraps"


@pytest.mark.parametrize("verb", [["train"], ["recommend"], ["data", "import"], ["benchmark"], []])
def test_help_cuts_no_option(verb: list[str]) -> None:
    environment = {**os.environ, "COLUMNS": "40"}
    said = subprocess.run(
        [sys.executable, "-m", "deftrec", *verb, "--help"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    command: Any = typer.main.get_command(app)
    for word in verb:
        command = command.commands[word]
    assert "…" not in said
    names = [max(one.opts, key=len) for one in command.params]
    assert all(name in said for name in names if name.startswith("-"))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_score_of_a_recommendation_is_there(
    deftrec: Call, run: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads(deftrec("similar", run, "--item", "i/101", "--json").out)["similar"]
    monkeypatch.setenv("COLUMNS", str(width))
    text = deftrec("similar", run, "--item", "i/101").out
    assert all(f"{one['score']:.4g}" in text and one["item"] in text for one in found)


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_wrap_what_they_say(width: int) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=width)
    bar = Progress(*bar_columns(width), console=screen, auto_refresh=False)
    bars = Bars(bar)
    bars.begin("ranking the validation targets of a data set", 100)
    bars.advance("ranking the validation targets of a data set", 40, {"loss": 1.25, "validation ndcg@10": 0.05})
    text = shown(bar.get_renderable(), width)
    assert "…" not in text
    assert "40/100" in text
    assert all(word in text for word in ("validation", "targets", "1.2500", "0.0500"))
