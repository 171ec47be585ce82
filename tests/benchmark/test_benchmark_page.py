"""The benchmark's page and Markdown: everything that was found, losses and failures too, and nothing from outside."""

import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from benchmark_fakes import FakeSystem, oracle
from rich.console import Console

from deftrec.benchmark import BenchmarkRequest, BenchmarkTable, run_benchmark
from deftrec.cli.tables import benchmark_table
from deftrec.data import Interactions, leave_one_out
from deftrec.errors import MissingExtraError
from deftrec.formatting import count
from deftrec.report.benchmark import write_benchmark
from deftrec.report.benchmark_plots import cost, differences, slices
from deftrec.report.theme import ROLES, stand_in

HOSTILE = "<i>mine</i> | $x$"


@pytest.fixture
def tables(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> list[BenchmarkTable]:
    cases = leave_one_out(interactions).cases("test")
    users, items = interactions.users.gather(cases.users), interactions.catalogue["item"].gather(cases.targets)
    pl.DataFrame({"user": users, "item": items, "rank": 1})[:70].write_parquet(tmp_path / "mine.parquet")
    broken = FakeSystem("broken", oracle(interactions, 0.5))
    broken.fails = "<script>no memory</script>"
    request = request_.model_copy(update={"fits": ("train", "train+validation")})
    return run_benchmark(
        interactions,
        request,
        [*systems, broken],
        tmp_path / "report",
        seeds=2,
        rankings={HOSTILE: tmp_path / "mine.parquet"},
        command="deftrec benchmark --data <x>",
    )


@pytest.fixture
def page(tables: list[BenchmarkTable], tmp_path: Path) -> str:
    return write_benchmark(tables, tmp_path / "report").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_terminal_shows_every_column(tables: list[BenchmarkTable], width: int) -> None:
    screen = Console(file=io.StringIO(), width=width)
    screen.print(benchmark_table(tables[0]))
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert all(word in text for word in ("system", "HR@10", "NDCG@10", "seeds", "(spread)", "training", "users/s"))
    assert all(one.name in text for one in tables[0].summaries if one.name != HOSTILE)
    assert re.sub(r"\s", "", HOSTILE) in re.sub(r"\s", "", text)


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"href", "src", "xlink:href", "srcset"}]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_nothing_is_fetched_and_no_word_is_markup(page: str) -> None:
    found = Elements(page)
    assert not {"script", "img", "link", "iframe", "object"} & set(found.tags)
    assert all(address.startswith("#") for address in found.addresses)
    assert len(found.ids) == len(set(found.ids))
    used = set(re.findall(r"url\(#([^)]+)\)", page)) | {address[1:] for address in found.addresses}
    assert used <= set(found.ids)
    assert any("<script>no memory</script>" in words for words in found.words)
    assert any(HOSTILE in words for words in found.words)
    assert not [role for role in ROLES if stand_in(role) in page]


def test_the_page_says_all_that_was_found(page: str, tables: list[BenchmarkTable]) -> None:
    words = " ".join(Elements(page).words)
    for table in tables:
        for one in table.summaries:
            assert f"{one.metrics['ndcg@10']:.4f}" in words
        for comparison in table.comparisons:
            assert f"{comparison.difference:+.3f}" in words
        for part in table.slices:
            assert part.name in words
    best = tables[0].best_peer()
    assert best is not None
    assert best.peer == HOSTILE, "a file that wins is the best peer too"
    for expected in (
        "rankings from a file, with an unknown fit",
        "broken, seeds 0, 1",
        "Fitted on train + validation, seen items excluded",
        "deftrec benchmark --data <x>",
        tables[0].data.fingerprint,
        tables[0].machine["cpu"],
        tables[0].machine["torch"],
        "systems were run at abc",
        '"note": "<b>bold</b>"',
        "fake 1.0",
        "DeftRec loses here.",
    ):
        assert expected in words


def test_the_markdown_says_it_too(tables: list[BenchmarkTable], page: str, tmp_path: Path) -> None:
    text = (tmp_path / "report" / "README.md").read_text(encoding="utf-8")
    assert "<script>" not in text.replace("\\<", "")
    for table in tables:
        for one in table.summaries:
            assert f"{one.metrics['hr@10']:.4f} (" in text
        for comparison in table.comparisons:
            assert f"{comparison.difference:+.4f} ({comparison.ci95[0]:+.4f} to {comparison.ci95[1]:+.4f})" in text
    widths = [line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| strong")]
    assert set(widths) == {10, 6, 2 + len(tables[0].slices)}, "rows of three kinds of tables"
    assert "## Not measured" in text


def test_the_same_tables_give_the_same_page(tables: list[BenchmarkTable], page: str, tmp_path: Path) -> None:
    assert write_benchmark(tables, tmp_path / "report").read_text(encoding="utf-8") == page


def test_without_matplotlib_there_is_markdown(
    tables: list[BenchmarkTable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"deftrec\[report\]"):
        write_benchmark(tables, tmp_path / "elsewhere")
    assert [file.name for file in (tmp_path / "elsewhere").iterdir()] == ["README.md"]


def test_plots_name_what_they_show(tables: list[BenchmarkTable]) -> None:
    table = tables[0]
    _, drawn = differences(table.comparisons, "ndcg@10", "train")
    assert all(name in drawn for name in ("strong", "weak", "&lt;i&gt;mine&lt;/i&gt;"))
    assert 'aria-label="NDCG@10, DeftRec minus each peer"' in drawn
    drawn = cost(table.summaries, "train_seconds", "train")
    assert ">strong</text>" in drawn
    assert "mine" not in drawn, "a cost that nobody knows is not drawn"
    assert "mathdefault" not in drawn
    assert "80 users" in slices([part for part in table.slices if part.by == "history length"], None, "train")


def test_a_benchmark_of_one_system_has_a_page(
    interactions: Interactions, request_: BenchmarkRequest, systems: list[FakeSystem], tmp_path: Path
) -> None:
    alone = run_benchmark(interactions, request_, systems[:1], tmp_path)
    assert "There is no peer to compare with." in write_benchmark(alone, tmp_path).read_text(encoding="utf-8")
    systems[0].fails = "diverged"
    lost = run_benchmark(interactions, request_, systems, tmp_path / "lost")
    assert "DeftRec could not be measured: diverged" in write_benchmark(lost, tmp_path).read_text(encoding="utf-8")
    nothing = run_benchmark(interactions, request_, systems[:1], tmp_path / "nothing")
    assert "diverged" in write_benchmark(nothing, tmp_path).read_text(encoding="utf-8")


def test_large_numbers_in_words() -> None:
    assert [count(n) for n in (0, 999, 1000, 51_234, 999_700, 22_700_000, 7 * 10**9)] == [
        "0", "999", "1.00 k", "51.2 k", "1.00 M", "22.7 M", "7.00 G",
    ]  # fmt: skip
