"""Tiny runs with a reasoner: a random language model of two layers beside a small model, trained in seconds."""

from pathlib import Path
from typing import Any

import torch

from deftrec import Interactions, Recommender
from deftrec.config import ReasonerOptions
from deftrec.tensors import load_tensors, save_tensors
from sealing import reseal
from toy import tiny_config, tiny_model


def options(folder: Path, **changes: Any) -> ReasonerOptions:
    """Options of a tiny reasoner, whose model is written into `folder`."""
    model = tiny_model("llama", folder, positions=256) if not (folder / "config.json").is_file() else folder
    values = {"tuned_layers": 1, "history": 4, "titles": 5, "examples": 24, "spoken": 12}
    return ReasonerOptions(model=str(model), **{**values, **changes})


def fit(folder: Path, data: Interactions, **changes: Any) -> Recommender:
    """A run with a reasoner, written into `folder / "run"`; changes of its options."""
    reasoner = options(folder / "llama", **changes).model_dump()
    config = tiny_config(reasoner=reasoner, training={"epochs": 2, "ensemble_size": 2})
    return Recommender.fit(data, config, out=folder / "run")


def speak_up(run: Path) -> None:
    """Give the residual of a run on disk random weights, so that states show whatever validation chose."""
    path, generator = run / "residual.safetensors", torch.Generator().manual_seed(0)
    tensors = load_tensors(path)
    weight = tensors["history.linear.weight"]
    tensors["history.linear.weight"] = torch.randn(weight.shape, generator=generator)
    save_tensors(path, tensors)
    reseal(run)


def forget(run: Path) -> None:
    """Empty the reasoning store of a run on disk."""
    (run / "reasoning.sqlite").unlink()
