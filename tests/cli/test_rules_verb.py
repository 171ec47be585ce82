"""`deftrec recommend --rules` and `--offset`."""

import json
from pathlib import Path

import polars as pl
import pytest
from calling import Call

RULES = """
- deny: {column: title, words: [number 3]}
- boost: {column: category, is: red, factor: 2}
- pin: {item: i/105, position: 2}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def test_rules_change_the_list_and_the_explanation_says_how(deftrec: Call, run: Path, rules: Path) -> None:
    words = ["recommend", run, "--history", "i/101", "-k", 3, "--rules", rules, "--explain"]
    whole = json.loads(deftrec(*words, "--json").out)
    assert whole["recommendations"][1]["item"] == "i/105"
    assert whole["recommendations"][1]["rules"] == ["boosted x2: category red", "fixed at position 2"]
    assert whole["notes"] == []
    [held] = whole["held_back"]
    assert set(held) == {"item", "title", "rule"}
    shown = " ".join(deftrec(*words).out.split())
    assert "boosted x2: category red; fixed at position 2" in shown
    assert f"held back by {held['rule']}" in shown


def test_pages_follow_each_other(deftrec: Call, run: Path, rules: Path) -> None:
    def page(k: int, offset: int) -> list[tuple[str, int]]:
        words = ["recommend", run, "--history", "i/101", "-k", k, "--offset", offset, "--rules", rules, "--json"]
        return [(one["item"], one["rank"]) for one in json.loads(deftrec(*words).out)["recommendations"]]

    assert page(5, 0) + page(5, 5) == page(10, 0)


def test_a_short_list_says_why(deftrec: Call, run: Path, rules: Path) -> None:
    rules.write_text("- allow: {column: item, is: [i/105, i/106]}")
    words = ["recommend", run, "--history", "i/101", "-k", 3, "--rules", rules]
    assert "note: the list ends after 2 of 3 items" in " ".join(deftrec(*words).out.split())
    assert "the list ends after 2 of 3 items" in json.loads(deftrec(*words, "--json").out)["notes"][0]


def test_everybody_by_the_rules(deftrec: Call, run: Path, rules: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.parquet"
    said = deftrec("recommend", run, "--all-users", "--out", out, "-k", 2, "--rules", rules, "--seen", "keep")
    assert said.code == 0, said.err
    assert set(pl.read_parquet(out).filter(pl.col("rank") == 2)["item"]) == {"i/105"}
    refused = deftrec("recommend", run, "--all-users", "--out", tmp_path / "parts", "--rules", rules)
    assert "a directory of parts takes all users and no" in refused.err
    assert "--rules" in refused.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- dney: {new: 3 days}", "rules.yaml: rule 1: unknown key 'dney'; did you mean 'deny'?"),
        ("- deny: {column: category, is: rde}", "no item has the category 'rde'; did you mean 'red'?"),
        ("- allow: {new: 3 days}", "its times are no clock times"),
        ("deny: [", "rules.yaml: not YAML"),
    ],
)
def test_wrong_rules_are_one_line(deftrec: Call, run: Path, rules: Path, text: str, message: str) -> None:
    rules.write_text(text)
    for words in (["recommend", run, "--history", "i/101"], ["serve", run]):
        said = deftrec(*words, "--rules", rules)
        assert said.code == 1
        assert said.err.splitlines()[-1].startswith("error: ")
        assert message in said.err
