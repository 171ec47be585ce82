"""The collaborative stage and the joint stage: what validates them, and what ends them."""

import numpy as np
import torch

from deftrec import Recommender
from deftrec.collaborative import LightGCN
from deftrec.data import Cases, Sequences
from deftrec.progress import Silent
from deftrec.training.loop import Plan, TrainingLog, train
from deftrec.training.stages import LightGCNTraining
from toy import ring, tiny_config


def test_the_collaborative_encoder_is_validated_by_the_rules_of_the_run() -> None:
    """An item that its user comes back to is no miss where history items are to be recommended."""
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
        stage = LightGCNTraining(module, sequences, cases, 30, tiny_config(**options), seen)
        plan = Plan(epochs=20, learning_rate=0.05, patience=20, dtype=torch.float32)
        trained = train(stage, plan, checkpoints=None, resume=False, log=TrainingLog(None), progress=Silent())
        found[seen] = trained.best_value
    assert found["exclude"] == 0
    assert found["keep"] > 0.5


def test_minutes_end_the_joint_stage_and_nothing_else() -> None:
    options = {"training": {"minutes": 1e-6}, "collaborative": {"epochs": 10}}
    recommender = Recommender.fit(ring(), tiny_config(**options), refit=True)
    assert len(recommender.info.history["joint"]) == recommender.info.epochs["joint"] == 1
    assert len(recommender.info.history["collaborative"]) > 1


def test_every_stage_has_its_seconds() -> None:
    seconds = Recommender.fit(ring(users=60), tiny_config(training={"epochs": 1}), refit=True).info.seconds
    names = ["collaborative", "joint", "score terms"]
    assert set(seconds) == {*names, *(f"refit-{name}" for name in names)}
    assert all(value > 0 for value in seconds.values())


def test_spectral_vectors_are_computed_in_closed_form() -> None:
    """No epoch is trained, and a refit computes them again from more interactions."""
    options = {"collaborative": {"encoder": "spectral"}, "training": {"epochs": 1}}
    recommender = Recommender.fit(ring(), tiny_config(**options), refit=True)
    assert recommender.info.epochs["collaborative"] == 0
    assert recommender.info.history["collaborative"] == []
    assert recommender.info.collaborative_width == 16
