"""The tables of README.md and docs/ hold what the committed results hold."""

import re
import sys
from pathlib import Path

import pytest
from studies import tables

PAGES = [page for page in tables.pages() if tables.MARKED.search(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(tables.ROOT).as_posix())
def test_every_table_equals_the_committed_results(page: Path) -> None:
    assert tables.rewritten(page) == page.read_text(encoding="utf-8"), "rewrite them: make tables"


def test_the_pages_that_quote_figures_have_tables() -> None:
    names = {page.relative_to(tables.ROOT).as_posix(): _names(page) for page in PAGES}
    assert names["README.md"] == ["overview"]
    assert {"summary", "claims", "seen-kept", *(f"peers-{dataset}" for dataset in tables.RUNS)} <= set(
        names["docs/accuracy.md"]
    )
    assert {name for found in names.values() for name in found} == set(tables.TABLES), "a table that no page shows"


@pytest.mark.parametrize("name", list(tables.TABLES))
def test_a_table_names_its_recipe_first_and_shows_no_mrr(name: str) -> None:
    heading, rule, *rows = tables.TABLES[name]().splitlines()
    assert heading.startswith("| recipe |")
    assert "mrr" not in heading.lower()
    assert rows
    assert {row.count("|") for row in (heading, rule, *rows)} == {heading.count("|")}


def test_a_changed_figure_is_found_and_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "README.md"
    right = (tables.ROOT / "README.md").read_text(encoding="utf-8")
    page.write_text(right.replace(".1809", ".1909"), encoding="utf-8")
    assert page.read_text(encoding="utf-8") != right
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["tables", "--check"])
    with pytest.raises(SystemExit, match="make tables"):
        tables.main()
    assert ".1909" in page.read_text(encoding="utf-8"), "--check changes nothing"
    monkeypatch.setattr(sys, "argv", ["tables"])
    tables.main()
    assert page.read_text(encoding="utf-8") == right
    assert "README.md: rewritten" in capsys.readouterr().out


def test_a_marker_without_a_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- table: nowhere -->\n<!-- /table -->\n", encoding="utf-8")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="no table 'nowhere'"):
        tables.rewritten(page)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.13230831, ".1323"), (-0.0065, "-.0065"), (1.0, "1.0000"), (0.0, "0"), (0.00004, ".0000")]
)
def test_numbers(value: float, shown: str) -> None:
    assert tables.number(value) == shown


@pytest.mark.parametrize(("p", "shown"), [(0.0002, "< .001"), (0.002, ".002"), (0.00999, ".01"), (0.144, ".14")])
def test_probabilities(p: float, shown: str) -> None:
    assert tables.probability(p) == shown


def _names(page: Path) -> list[str]:
    return re.findall(r"<!-- table: ([\w-]+) -->", page.read_text(encoding="utf-8"))
