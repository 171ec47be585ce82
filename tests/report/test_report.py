"""The report: everything in one file, nothing from outside, no word of the data read as markup."""

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from deftrec import Interactions, Recommender
from deftrec.data import Meta
from deftrec.errors import MissingExtraError
from deftrec.evaluation import Result
from deftrec.formatting import duration, groups, meaning, metric_name, peer_said
from deftrec.report import pick_examples, write_report
from deftrec.report.plots import Projection, bars, curve
from deftrec.report.theme import ROLES, fill_in, stand_in
from toy import ring, tiny_config

TITLE = "<script>alert({0})</script> & \"{0}\" | $x_{0}$ <img src='https://example.org/{0}.png'>"


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    events = ring(users=40).events()
    names = events["item"].unique().sort()
    items = pl.DataFrame({"item": names, "title": [TITLE.format(n) for n in range(len(names))], "category": "red"})
    interactions = Interactions.from_frame(events, items, meta=Meta(name="<b>ring</b>"))
    return Recommender.fit(interactions, tiny_config(training={"epochs": 1}, collaborative={"epochs": 5}))


@pytest.fixture(scope="module")
def results(recommender: Recommender) -> list[Result]:
    own = [result for split in ("validation", "test") for result in recommender.evaluate_parts(split).values()]
    return [*own, own[-1].model_copy(update={"name": "peer <i>$1$</i>"})]


@pytest.fixture(scope="module")
def page(recommender: Recommender, results: list[Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(recommender, results, tmp_path_factory.mktemp("run") / "report")


class Elements(HTMLParser):
    """Tags, attributes and words as a browser would find them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_no_title_becomes_an_element_and_nothing_is_fetched(page: Path) -> None:
    found = Elements(page.read_text(encoding="utf-8"))
    assert not {"script", "img", "link", "iframe", "object"} & set(found.tags)
    addresses = [value or "" for name, value in found.attributes if name in {"href", "src", "xlink:href", "srcset"}]
    assert addresses
    assert all(value.startswith("#") for value in addresses)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    style = page.read_text(encoding="utf-8").split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes
    assert any("<script>alert(" in words for words in found.words), "titles are shown as they are"
    assert any("peer <i>$1$</i>" in words for words in found.words), "in the table and in the plot"


def test_the_page_holds_what_the_numbers_mean(page: Path, recommender: Recommender, results: list[Result]) -> None:
    words = " ".join(Elements(page.read_text(encoding="utf-8")).words)
    for expected in (
        *(f"{one.metrics['ndcg@10']:.4f}" for one in results),
        "deftrec/latent",
        "deftrec/collaborative_prior",
        "seen items excluded, fitted on train",
        recommender.info.fingerprint[:16],
        recommender.info.environment["torch"],
        "Collaborative encoder: validation NDCG@10",
        "Tokenizer, language model and diffusion: loss",
        '"temperature": 0.07',
    ):
        assert expected in words


def test_the_path_names_what_is_recommended_and_the_newest_history(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    plot = " ".join(Elements(html[html.index('id="path-') :]).words)
    whole = json.loads((page.parent / "results.json").read_text(encoding="utf-8"))
    shown = next((one for one in whole["examples"] if one["place"]), whole["examples"][0])
    for one in shown["recommendations"]:
        assert f"{one['rank']} {one['title'][:20]}" in plot
    assert shown["titles"][-1][:20] in plot
    assert shown["target"][:20] in plot


def test_ids_of_plots_do_not_meet(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]+)\)", html)) | set(re.findall(r'href="#([^"]+)"', html))
    assert used <= set(ids)


def test_colours_follow_the_reader(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert "prefers-color-scheme:dark" in html
    for role in ROLES:
        assert stand_in(role) not in html
    assert fill_in(f"fill: {stand_in('main')}") == "fill: var(--main)"


def test_results_and_markdown_lie_beside_it(page: Path, results: list[Result]) -> None:
    whole = json.loads((page.parent / "results.json").read_text(encoding="utf-8"))
    assert [Result.model_validate(one) for one in whole["results"]] == results
    assert len(whole["examples"]) == 5
    points = {(one["rerank"], one["strength"]) for one in whole["lists"]}
    assert points >= {("none", 0), ("mmr", 0.5), ("dpp", 2), ("calibrated", 0.1)}
    assert all(one["part"] == "validation" and 0 <= one["hr"] <= 1 for one in whole["lists"])
    text = (page.parent / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in text.replace("\\<", "")
    assert r"peer \<i\>$1$\</i\>" in text
    assert {path.name for path in page.parent.iterdir()} == {"index.html", "report.md", "results.json"}


def test_the_same_run_gives_the_same_report(recommender: Recommender, results: list[Result], page: Path) -> None:
    before = page.read_bytes()
    assert write_report(recommender, results, page.parent) == page
    assert page.read_bytes() == before


@pytest.mark.parametrize("library", ["matplotlib", "jinja2"])
def test_a_failure_leaves_the_report_that_was_there(
    recommender: Recommender, results: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    page = write_report(recommender, results, tmp_path / "report")
    before = page.read_bytes()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf'needs {library}: pip install "deftrec\[report\]"'):
        write_report(recommender, results, tmp_path / "report")
    assert page.read_bytes() == before


def test_examples_end_before_the_test_item(recommender: Recommender) -> None:
    examples = pick_examples(recommender, n=6, k=3)
    assert len({one.user for one in examples}) == 6
    for one in examples:
        assert [*one.history, one.target_item] == recommender.interactions.history(one.user)
        alone = recommender.recommend(history=one.history, k=3)
        assert [found.item for found in one.recommendations] == [found.item for found in alone]
        items = [found.item for found in one.recommendations]
        assert one.place == (items.index(one.target_item) + 1 if one.target_item in items else None)


def test_there_are_fewer_examples_than_users_asked(recommender: Recommender) -> None:
    assert len(pick_examples(recommender, n=1000)) == 40


def test_the_plane_is_that_of_the_largest_variances() -> None:
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.normal(size=(500, 4)) * [1.0, 9.0, 3.0, 0.1] + 5)
    plane = Projection.of(points)
    placed = plane(points)
    assert placed.mean(0) == pytest.approx([0, 0], abs=1e-9)
    expected = (points - points.mean(0))[:, [1, 2]].numpy()
    for axis in (0, 1):
        assert abs(np.corrcoef(placed[:, axis], expected[:, axis])[0, 1]) > 0.99
    assert plane.shares[0] > plane.shares[1] > 0
    assert plane.shares[0] == pytest.approx(81 / (1 + 81 + 9), abs=0.05)


def test_points_that_are_all_the_same_are_no_trouble() -> None:
    assert not Projection.of(torch.ones(5, 3))(torch.ones(2, 3)).any()


def test_plots_carry_their_numbers(results: list[Result]) -> None:
    drawn = bars([one for one in results if one.split == "test"], "ndcg@10", "NDCG@10")
    assert f"{results[-1].metrics['ndcg@10']:.3f}" in drawn
    assert "peer &lt;i&gt;$1$&lt;/i&gt;" in drawn
    rows = [{"epoch": 1.0, "loss": 3.0}, {"epoch": 2.0, "loss": 2.0}]
    assert 'role="img"' in curve(rows, "loss", "a < b", 2)
    assert 'aria-label="a &lt; b by epoch"' in curve(rows, "loss", "a < b", 2)


def test_words() -> None:
    assert [metric_name(key) for key in ("ndcg@10", "mrr@100", "coverage@5")] == ["NDCG@10", "MRR@100", "coverage@5"]
    assert [duration(seconds) for seconds in (3.4, 119, 121, 600, 7300)] == [
        "3 s", "119 s", "2 min 1 s", "10 min 0 s", "2 h 1 min",
    ]  # fmt: skip


def test_what_peers_say_is_worded() -> None:
    line = 'item-knn: {"k": 20, "shrink": 0.0, "loss": "bpr", "ndcg@10": 0.07179530095781367}'
    assert peer_said(line) == "item-knn: k 20, shrink 0, loss bpr, validation NDCG@10 0.0718"
    line = 'letter: {"rqvae_hidden_dims": [256, 128], "ndcg@10": 0.5}'
    assert peer_said(line) == "letter: rqvae_hidden_dims [256, 128], validation NDCG@10 0.5000"
    assert peer_said('popularity: {"ndcg@10": 0.02}') == "popularity: validation NDCG@10 0.0200"
    for other in ("ease: preparing its environment", "ease: 3", 'ease: {"seconds": 3}'):
        assert peer_said(other) == other


def test_results_of_different_meaning_never_share_a_table(results: list[Result]) -> None:
    test = next(one for one in results if one.split == "test")
    refitted = test.model_copy(update={"fit": "train+validation"})
    kept = test.model_copy(update={"seen": "keep"})
    tables = groups([*results, refitted, kept])
    assert [len(rows) for rows in tables] == [4, 1, 1, 3]
    assert all(len({meaning(one) for one in rows}) == 1 for rows in tables)
    assert tables[0][0].split == "test"


def test_results_without_a_metric_are_shown_without_its_column(
    recommender: Recommender, results: list[Result], tmp_path: Path
) -> None:
    """Results of older versions hold `mrr` instead of `mrr@100`."""
    old = [
        one.model_copy(update={"metrics": {key.replace("mrr@100", "mrr"): value for key, value in one.metrics.items()}})
        for one in results
    ]
    html = write_report(recommender, old, tmp_path / "report", pick_examples(recommender, n=1)).read_text()
    assert "<th>HR@50</th>" in html
    assert "MRR" not in html
    assert "MRR" not in (tmp_path / "report" / "report.md").read_text()


def test_a_curve_of_no_validation_is_left_out(recommender: Recommender, results: list[Result], tmp_path: Path) -> None:
    """A stage that stopped before its first validation has no metric to draw."""
    rows = [{"epoch": 1.0, "loss": 2.0, "seconds": 0.1}]
    info = recommender.info.model_copy(update={"history": {"joint": rows}})
    shallow = Recommender(replace(recommender.run, info=info))
    html = write_report(shallow, results, tmp_path / "report", pick_examples(recommender, n=1)).read_text()
    assert "Tokenizer, language model and diffusion: loss" in html
    assert "Tokenizer, language model and diffusion: validation" not in html
