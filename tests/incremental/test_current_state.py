"""Runs of every kind take new items: ensembles, titles in the prompt, rationales, repeated items."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deftrec import Recommender
from deftrec.incremental import Overlay
from toy import reads_text, ring, tiny_bert, tiny_config
from worded import NEW

BERT = "(the tiny BERT)"
PROMPT = "next : {history}"
KINDS: dict[str, dict[str, Any]] = {
    "members": {"training": {"epochs": 1, "ensemble_size": 2}},
    "titles": {"language": {"kind": "pretrained", "model": BERT, "prompts": (PROMPT,), "titles": 2}},
    "rationale": {
        "language": {"kind": "pretrained", "model": BERT, "prompts": (PROMPT,), "titles": 2}
        | {"reasoning": {"weight": 0.1, "max_tokens": 4}},
    },
    "no-prior": {"retrieval": {"prior": "none", "trend": False}},
    "repeats": {"retrieval": {"seen": "keep"}, "objective": {"mask_seen": False}},
    "history-last": {"retrieval": {"seen": "keep"}, "objective": {"mask_seen": True}},
    "text-alone": {"collaborative": {"encoder": "none"}},
    "ways": {"tokenizer": {"ways": 2, "drop_collaborative": 0.5}},
    "folded-users": {"tokenizer": {"users": "folded", "drop_collaborative": 0.5}},
    "temporal": {"data": {"split": "temporal", "max_history": 20}},
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def with_model(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: with_model(inner, folder) for key, inner in value.items()}
    return str(folder) if value is BERT else value


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_takes_new_items(kind: str, bert: Path) -> None:
    groups = {
        "text": reads_text(bert),
        "training": {"epochs": 1},
        "tokenizer": {"drop_collaborative": 0.5},
        "data": {"max_history": 20},
        **with_model(KINDS[kind], bert),
    }
    recommender = Recommender.fit(ring(users=40), tiny_config(**groups))
    before = recommender.recommend(history=[101, 105], k=24, exclude_seen=False)
    assert recommender.capabilities.unseen_items
    overlay = Overlay.empty(recommender.fitted_on).with_items(NEW, torch.randn(3, 32))
    after = recommender.with_overlay(replace(overlay, version=1))
    found = after.recommend(history=[101, 105], k=27, exclude_seen=False)
    assert len(found) == 27
    old = [one for one in found if int(one.item) < 900]
    assert [one.item for one in old] == [one.item for one in before]
    assert [one.score for one in old] == pytest.approx([one.score for one in before], abs=1e-4)
    assert len(after.recommend(history=[900, 101], k=3)) == 3
    language = getattr(after.run.model, "language", None)
    if kind == "titles":
        assert after.model.language.title_ids.shape == (27, 2)  # type: ignore[union-attr]
        assert language.title_ids.shape == (24, 2)  # type: ignore[union-attr]
        one, other = (after.recommend(history=[item], k=5) for item in (900, 901))
        assert [each.score for each in one] != [each.score for each in other]
    # The run itself is what it was.
    assert recommender.recommend(history=[101, 105], k=24, exclude_seen=False) == before
    assert recommender.interactions.n_items == 24
