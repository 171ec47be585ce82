"""Variants are trained alike, measured alike, kept, and compared with the recipe."""

import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from studies.ablation import BASE, Measured, Study, Variant, write_ablation
from studies.comparison import Comparison, SliceComparison, compare, compare_slices, difference_plot

from deftrec import Recommender
from deftrec.errors import DeftRecError, MissingExtraError
from deftrec.evaluation import paired_bootstrap
from deftrec.progress import Silent
from deftrec.report.render import POLICY
from toy import ring, tiny_config

VARIANTS = {
    "deftrec/same": Variant(about="nothing changed"),
    "deftrec/untrained": Variant(about="hardly trained | at all", set={"training": {"learning_rate": 1e-6}}),
    "deftrec/wide": Variant(about="a wider <denoiser>", set={"diffusion": {"width": 48}}),
}
FAST = {"training": {"epochs": 3}, "collaborative": {"epochs": 2}}


def study(work: Path, variants: dict[str, Variant] = VARIANTS, seeds: int = 2, **options: Any) -> Study:
    return Study(
        ring(), tiny_config(**{**FAST, **options}), variants, seeds=seeds, work=work, progress=Silent(),
        device=torch.device("cpu"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def runs(work: Path) -> dict[str, list[Measured]]:
    return study(work).run()


def test_every_variant_with_every_seed(runs: dict[str, list[Measured]]) -> None:
    assert list(runs) == [BASE, *VARIANTS]
    for name, trainings in runs.items():
        assert [run.seed for run in trainings] == [0, 1]
        for run in trainings:
            assert run.name == name
            assert set(run.results) == {"test", "validation"}
            for split, result in run.results.items():
                assert (result.split, result.seen, result.fit, result.name) == (split, "exclude", "train", name)
                assert run.values[f"{split} ndcg@10"].mean() == pytest.approx(result.metrics["ndcg@10"])
            assert run.train_seconds > 0
            assert run.settings["seed"] == run.seed
            assert run.settings["retrieval"]["prior"] == "none"


def test_the_recipe_is_measured_as_it_is_alone(runs: dict[str, list[Measured]]) -> None:
    alone = Recommender.fit(ring(), tiny_config(seed=1, **FAST), device=torch.device("cpu"))
    assert alone.evaluate("test", parts="latent").metrics == pytest.approx(runs[BASE][1].results["test"].metrics)


def test_a_recipe_that_keeps_seen_items_is_measured_so(tmp_path: Path) -> None:
    trained = study(tmp_path, variants={}, seeds=1, **FAST, retrieval={"seen": "keep"}).run()[BASE][0]
    assert {result.seen for result in trained.results.values()} == {"keep"}


def test_what_is_finished_is_not_done_again(
    work: Path, runs: dict[str, list[Measured]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(Recommender, "fit", never)
        again = study(work).run()
    for name, trainings in runs.items():
        for before, after in zip(trainings, again[name], strict=True):
            assert after.results == before.results
            assert all(torch.equal(values, before.values[key]) for key, values in after.values.items())
    assert not list(work.glob("*.run"))
    with monkeypatch.context() as patch:
        patch.setattr(Recommender, "fit", never)
        with pytest.raises(AssertionError):
            study(work, diffusion={"depth": 2}).run()


def test_an_interrupted_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resumed: list[bool] = []
    fit = Recommender.fit

    def watch(*arguments: Any, **options: Any) -> Recommender:
        resumed.append(options["resume"])
        return fit(*arguments, **options)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recommender, "fit", watch)
    with monkeypatch.context() as patch:
        patch.setattr("deftrec.training.joint.JointTraining._member", stop)
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path, {}, seeds=1).run()
    study(tmp_path, {}, seeds=1).run()
    assert resumed == [False, True]


def test_a_variant_that_fails_leaves_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {
        "deftrec/refused": Variant(about="no vectors are left", set={"collaborative": {"encoder": "none"}}),
        "deftrec/broken": Variant(about="no model", set={"language": {"kind": "pretrained", "model": str(tmp_path)}}),
    }
    wide = dict.fromkeys(("deftrec/unforeseen", "deftrec/wide"), VARIANTS["deftrec/wide"])
    tried = study(tmp_path, {**broken, **wide}, seeds=1)
    one = tried._one

    def measure(name: str, seed: int) -> Measured:
        if name == "deftrec/unforeseen":
            raise RuntimeError("out of\nmemory")
        return one(name, seed)

    monkeypatch.setattr(tried, "_one", measure)
    found = tried.run()
    assert list(found) == [BASE, "deftrec/wide"]
    assert list(tried.failures) == [*broken, "deftrec/unforeseen"]
    assert tried.failures["deftrec/unforeseen"] == "out of memory"
    assert "no config.json" in tried.failures["deftrec/broken"]


def test_damage_is_named(work: Path, runs: dict[str, list[Measured]], tmp_path: Path) -> None:
    shutil.copytree(work, tmp_path / "work")
    for about in (tmp_path / "work").glob("*/about.json"):
        about.write_text("{")
    with pytest.raises(DeftRecError, match="damaged; delete it"):
        study(tmp_path / "work").run()


def test_the_comparison_is_paired_over_users_and_averaged_over_seeds(runs: dict[str, list[Measured]]) -> None:
    rows = {(row.name, row.split, row.metric): row for row in compare(runs, BASE)}
    assert len(rows) == 3 * 2 * 2
    same = rows["deftrec/same", "test", "ndcg@10"]
    assert (same.difference, same.p) == (0, 1)
    row = rows["deftrec/untrained", "test", "ndcg@10"]
    mine, theirs = (
        torch.stack([run.values["test ndcg@10"] for run in runs[name]]).mean(0) for name in (row.name, BASE)
    )
    expected = paired_bootstrap(mine, theirs)
    assert (row.difference, row.ci95, row.p) == (expected.difference, expected.ci95, expected.p)
    assert row.difference < 0
    assert row.p < 0.05
    each = [run.results["test"].metrics["ndcg@10"] for run in runs[row.name]]
    assert row.mean == pytest.approx(sum(each) / 2)
    assert row.spread == pytest.approx(abs(each[0] - each[1]) / 2**0.5)
    one = compare({name: trainings[:1] for name, trainings in runs.items()}, BASE)
    assert all(row.spread is None and row.seeds == 1 for row in one)


def test_slices_are_compared_as_the_whole_is(runs: dict[str, list[Measured]], tmp_path: Path) -> None:
    parts = study(tmp_path).user_groups()
    rows = {(row.name, row.by, row.part): row for row in compare_slices(runs, BASE, parts)}
    assert len(rows) == len(VARIANTS) * len(parts)
    whole = {row.name: row for row in compare(runs, BASE) if (row.split, row.metric) == ("test", "ndcg@10")}
    for name in VARIANTS:
        for by in {part.by for part in parts}:  # the slices of one `by` hold every user once
            own = [row for row in rows.values() if (row.name, row.by) == (name, by)]
            weighed = sum(row.users * row.difference for row in own) / sum(row.users for row in own)
            assert weighed == pytest.approx(whole[name].difference)
    last = parts[-1]
    row, users = rows["deftrec/untrained", last.by, last.name], torch.from_numpy(last.users)
    mine, base = (
        torch.stack([run.values["test ndcg@10"] for run in runs[name]]).mean(0)[users] for name in (row.name, BASE)
    )
    expected = paired_bootstrap(mine, base)
    assert (row.base, row.difference, row.p) == (expected.second, expected.difference, expected.p)


def test_the_report(runs: dict[str, list[Measured]], tmp_path: Path) -> None:
    parts = study(tmp_path / "unused").user_groups()
    found = compare_slices(runs, BASE, parts)
    page = write_ablation(
        tmp_path,
        runs,
        compare(runs, BASE),
        found,
        VARIANTS,
        {"deftrec/broken": "it <broke>"},
        "python -m studies.ablation --data x",
    )
    content = json.loads((tmp_path / "results.json").read_text())
    assert {"dataset", "split", "seen", "fit", "models", "machine", "revision", "command"} <= set(content)
    assert (content["split"], content["part"]) == ("leave-one-out", "test")
    assert [(model["name"], model["seed"]) for model in content["models"]][:2] == [(BASE, 0), (BASE, 1)]
    assert {"metrics", "ci95", "train_seconds", "users_per_second", "parameters", "settings"} <= set(
        content["models"][0]
    )
    assert [Comparison.model_validate(row) for row in content["comparisons"]] == compare(runs, BASE)
    assert [SliceComparison.model_validate(row) for row in content["slices"]] == found
    text = (tmp_path / "report.md").read_text()
    assert "nothing changed (equal to the recipe on these data)" in text
    assert "hardly trained \\| at all" in text
    counts = Counter(part.by for part in parts)
    assert set(counts.values()) > {1}
    shown = [part for part in parts if part.by == counts.most_common(1)[0][0]]
    assert text.count("## Slices by ") == sum(count > 1 for count in counts.values())  # one slice alone is the whole
    assert "| deftrec/same |" + " +0.0000 |" * len(shown) + "\n" in text
    assert f"{shown[0].name} ({len(shown[0].users)})" in text
    assert "deftrec/broken failed: it \\<broke\\>" in text
    html = page.read_text()
    assert html.count("<svg") == 2
    assert "a wider &lt;denoiser&gt;" in html
    assert "it &lt;broke&gt;" in html
    assert html.count(f"({len(shown[0].users)})") >= 1
    assert f"<h2>Slices by {shown[0].by}</h2>" in html
    assert f'content="{POLICY}"' in html
    assert "://" not in html  # nothing is fetched


def test_the_report_says_who_has_fewer_seeds(runs: dict[str, list[Measured]], tmp_path: Path) -> None:
    same = "Each value is the mean over 2 seeds, with their standard deviation"
    write_ablation(tmp_path, runs, compare(runs, BASE), [], VARIANTS, {}, "python -m studies.ablation")
    assert f"{same}. The interval" in (tmp_path / "report.md").read_text()
    some = {**runs, "deftrec/wide": runs["deftrec/wide"][1:]}
    page = write_ablation(tmp_path, some, compare(some, BASE), [], VARIANTS, {}, "python -m studies.ablation")
    said = f"{same}; but deftrec/wide over 1 seed. A difference is over the seeds that both rows have. The"
    assert said in (tmp_path / "report.md").read_text()
    assert said in page.read_text()


def test_without_matplotlib_there_is_markdown(
    runs: dict[str, list[Measured]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"deftrec\[report\]"):
        write_ablation(tmp_path, runs, compare(runs, BASE), [], VARIANTS, {}, "python -m studies.ablation")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.md", "results.json"]


@pytest.mark.parametrize(("low", "high"), [(-0.02, 0.01), (0.0, 0.0), (1e-5, 3e-5), (-0.9, -0.5)])
def test_the_plot_holds_every_interval(low: float, high: float) -> None:
    row = Comparison(
        name="deftrec/<x>", split="test", metric="ndcg@10", seeds=1, mean=0.1, spread=None,
        difference=(low + high) / 2, ci95=(low, high), p=0.5, train_seconds=1.0,
    )  # fmt: skip
    drawn = difference_plot([row, row.model_copy(update={"name": "deftrec/y"})], "differences", "minus the recipe")
    assert "deftrec/&lt;x&gt;" in drawn
    width = float(drawn.split('viewBox="0 0 ')[1].split()[0])
    lines = re.findall(r"<path d=\"M (\S+) \S+ \s*L (\S+) \S+ ?\s*\"[^>]*stroke-width: 1.6", drawn)
    dots = re.findall(r'<use href="[^"]+" x="([^"]+)"', drawn)
    assert len(lines) == 2
    assert len(dots) >= 2
    assert all(0 <= float(place) <= width for place in [*dots, *(end for line in lines for end in line)])
