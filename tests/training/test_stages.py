"""The tokenizer trained alone."""

import numpy as np
import torch

from deftrec import Recommender
from deftrec.collaborative import LightGCN
from deftrec.data import Cases, Sequences
from deftrec.progress import Silent
from deftrec.recipe import adapt
from deftrec.tokenizer import ItemFeatures
from deftrec.training.build import build_model
from deftrec.training.log import TrainingLog
from deftrec.training.loop import Plan, train
from deftrec.training.stages import CollaborativeStage, TokenizerStage
from toy import ring, tiny_config


def test_a_tokenizer_learns_to_give_back_the_features() -> None:
    options = {"training": "frozen", "reconstruction_weight": 1.0, "mean_weight": 0.1, "trainable_features": False}
    config = adapt(tiny_config(tokenizer=options), positions=1, interactions=1, users=1, items=50)
    features = ItemFeatures.build(torch.randn(50, 8), torch.randn(50, 5))
    model = build_model(features, config, "items")
    others = {name: p.clone() for name, p in model.named_parameters() if not name.startswith("item_tokenizer")}
    stage = TokenizerStage(model, 0, "tokenizer", batch_size=20)
    plan = Plan(epochs=60, learning_rate=1e-2, patience=60, dtype=torch.float32, stop_after=60)
    trained = train(stage, plan, checkpoints=None, resume=False, log=TrainingLog(None), progress=Silent())
    losses = [row["reconstruction"] for row in trained.history]
    assert losses[-1] < losses[0] / 10
    assert trained.value is None
    row = trained.history[0]
    assert abs(row["loss"] - row["reconstruction"] - 0.1 * row["mean"]) < 1e-5
    assert all(torch.equal(p, others[name]) for name, p in model.named_parameters() if name in others)
    steps, batches = stage.epoch(3)
    rows = torch.cat(list(batches))
    assert (steps, len(rows)) == (3, 50)
    assert torch.equal(rows.sort(0).values, features.values.sort(0).values)  # every item once


def test_the_collaborative_encoder_is_validated_by_the_rule_of_the_run() -> None:
    """Who takes the same item again and again is no miss where seen items are to be recommended."""
    sequences = Sequences.from_lists([[user % 5] * 6 for user in range(20)])
    module = LightGCN(sequences, 30, 16, 1, 0.0)
    cases = Cases(np.arange(20), sequences, np.arange(20) % 5)
    found = {}
    for seen in ("exclude", "keep"):
        options = {
            "retrieval": {"seen": seen},
            "objective": {"mask_seen": seen == "exclude"},
            "collaborative": {"batch_size": 20},
        }
        stage = CollaborativeStage(module, sequences, cases, 30, tiny_config(**options), seen)
        plan = Plan(epochs=20, learning_rate=0.05, patience=20, dtype=torch.float32)
        trained = train(stage, plan, checkpoints=None, resume=False, log=TrainingLog(None), progress=Silent())
        found[seen] = trained.value or 0.0
    assert found["exclude"] == 0
    assert found["keep"] > 0.5


def test_minutes_end_the_joint_stage_and_nothing_else() -> None:
    options = {"training": {"minutes": 1e-6}, "collaborative": {"epochs": 10}}
    recommender = Recommender.fit(ring(), tiny_config(**options), refit=True)
    assert len(recommender.info.history["joint"]) == recommender.info.epochs["joint"] == 1
    assert len(recommender.info.history["collaborative"]) > 1
