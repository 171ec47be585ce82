"""The whole protocol on toy data: unseen users are served like seen ones, and unseen items by their words."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from studies.cold_start import ROWS, Baseline, ColdStartStudy, Row, hold_out
from studies.cold_start.__main__ import main
from studies.cold_start.report import row_cells
from studies.cold_start.result import verdicts
from studies.comparison import Ratio
from titled_ring import titled_ring

from deftrec.data import Cases, Sequences
from deftrec.errors import ConfigError, DataError
from deftrec.progress import Silent
from toy import tiny_bert, tiny_config

SETTINGS = """
collaborative: {{dim: 16, epochs: 10, batch_size: 128}}
text: {{model: {bert}}}
tokenizer: {{hidden: 32, dropout: 0.0, drop_collaborative: 0.5, trainable_features: false, users: none}}
language: {{kind: nano, width: 32, layers: 1, dropout: 0.0}}
diffusion: {{width: 32, depth: 1}}
training: {{learning_rate: 0.01, batch_positions: 256, epochs: 12, average: 0.0, precision: fp32, ensemble_size: 1}}
retrieval: {{prior: none}}
"""


def test_the_protocol_on_a_ring_whose_words_say_who_is_near(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny.yaml").write_text(SETTINGS.format(bert=tiny_bert(tmp_path / "bert")))
    titled_ring(users=150).save(tmp_path / "data")
    words = ["--data", tmp_path / "data", "--recipe", tmp_path / "tiny.yaml", "--out", tmp_path / "report"]
    words += ["--rows", "features 0.5"]
    assert main([str(word) for word in words]) == 0
    said = capsys.readouterr()
    assert "15 users and 2 items held out" in said.out
    assert "content-kNN, newest item" in said.out
    result = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [row["name"] for row in result["rows"]] == ["recipe", "features 0.5"]
    assert [row["masking"]["mask_features"] for row in result["rows"]] == [0.0, 0.5]
    recipe = result["rows"][0]
    assert recipe["users"]["second"] > 0.3, "it learns the ring"
    assert recipe["users"]["value"] > 0.7
    assert recipe["items_hr50"] == 1.0, "the catalogue is smaller"
    assert 0 < recipe["seen_items"] <= 1
    assert len(result["verdicts"]) == 3
    compared = {(row["name"], row["split"], row["metric"]) for row in result["comparisons"]}
    assert ("features 0.5", "unseen items", "hr@50") in compared
    assert {row["by"] for row in result["slices"]} == {"history length", "popularity of the target"}
    assert "Differences to the recipe" in (tmp_path / "report" / "report.md").read_text()
    assert "features 0.5" in (tmp_path / "report" / "report.html").read_text()
    assert set(result["questions"]) == {"seen_users", "unseen_users", "unseen_items", "seen_items"}
    # Again: nothing is trained, and the result is the same.
    assert main([str(word) for word in [*words, "--json"]]) == 0
    said = capsys.readouterr()
    assert "validation NDCG@10" not in said.err
    assert json.loads(said.out) == result


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    held = hold_out(titled_ring(users=40))
    text = {"model": "minilm"}
    for config, rows, message in (
        (tiny_config(), ["recipe"], "text.model to minilm"),
        (tiny_config(text=text), ["masks"], "no row 'masks'"),
        (tiny_config(text=text, collaborative={"encoder": "none"}), list(ROWS), "--rows at 'recipe'"),
        (tiny_config(text=text, data={"split": "temporal"}), ["recipe"], "leave-one-out"),
    ):
        with pytest.raises(ConfigError, match=message):
            ColdStartStudy(held, config, rows, tmp_path, Silent())


def test_nobody_to_compare_with_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    held = hold_out(titled_ring(users=40))
    longer = Cases(np.arange(1), Sequences.from_lists([[0] * 30]), np.zeros(1, np.int64))
    nobody = replace(held, questions=replace(held.questions, unseen_users=longer))
    study = ColdStartStudy(nobody, tiny_config(text={"model": "minilm"}), ["recipe"], tmp_path, Silent())
    with pytest.raises(DataError, match="no unseen user has a history as long as that of a seen one"):
        study.run()


def test_verdicts_take_the_better_baseline() -> None:
    compared = Ratio(first=0.97, second=1.0, value=0.97, ci95=(0.9, 1.0), cases=10)
    row = Row(
        name="recipe", masking={}, users=compared, items_hr10=0.1, items_hr50=0.3, items_ndcg10=0.1,
        items_ci95=(0.2, 0.4), items_hr50_latent=0.3, seen_items=0.1, seen_items_alone=0.1, seconds=1.0, epochs={},
    )  # fmt: skip
    baselines = [Baseline(name=name, hr10=0, hr50=value, ndcg10=0) for name, value in (("one", 0.05), ("two", 0.11))]
    found = verdicts(row, baselines, compared)
    assert [one.holds for one in found] == [True, False, False]
    assert found[1].found == pytest.approx(0.3 / 0.11)


@pytest.mark.parametrize(("high", "said"), [(2.5, "1.585 (1.58 to 2.50)"), (1e12, "1.585 (1.58, no upper bound)")])
def test_a_ratio_to_next_to_nothing_has_no_upper_bound(high: float, said: str) -> None:
    compared = Ratio(first=1.0, second=0.63, value=1.585, ci95=(1.58, high), cases=3)
    row = Row.model_construct(
        name="recipe", users=compared, items_hr50=0.3, items_ci95=(0.2, 0.4), items_hr50_latent=0.3, seen_items=0.1,
        seen_items_alone=0.1, seconds=1.0,
    )  # fmt: skip
    assert row_cells(row)[2] == said
