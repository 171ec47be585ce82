"""Generative recommenders over semantic ids by cornac: TIGER, LETTER, RPG and DiffGRM. The contract is in ../README.md.

    python run.py --inputs DIR --outputs DIR --model tiger

The ids are made of sentence vectors of the items' text. The library's own sizes are those of a GPU: the first settings
tried are small ones of the same kind, and the library's follow.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cornac
import numpy as np
import polars as pl
import torch
from cornac.data import FeatureModality, SequentialDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from exchange import Inputs
from models import Watched, WatchedDiffGRM, WatchedLETTER, WatchedRPG, WatchedTIGER
from tuning import Fitted, Settings, Stopping, Train, run
from vectors import collaborative_vectors, sentence_vectors

MODELS = ("tiger", "letter", "rpg", "diffgrm")
MAX_EPOCHS = 200
PATIENCE = 5
VALIDATION_USERS = 200  # a search for each of them, at every validation
VALIDATION_BEAMS, BEAMS = 20, 50
CODES = 256  # of a codebook: the least items there have to be
MAX_LENGTH = 20

SMALL_T5 = {"d_model": 64, "d_ff": 256, "num_heads": 4, "d_kv": 16, "num_enc_layers": 2, "num_dec_layers": 2}
SMALL_TIGER = {**SMALL_T5, "dropout": 0.1, "batch_size": 64, "learning_rate": 2e-3}
TIGER = {"batch_size": 256, "learning_rate": 5e-4, "weight_decay": 1e-6}  # GRID_CONFIG; sizes are the defaults
SMALL_TOKENIZER = {
    "rqvae_hidden_dims": (256, 128),
    "rqvae_n_epochs": 40,
    "rqvae_batch_size": 256,
    "rqvae_num_levels": 4,
}
LETTER = {"batch_size": 256, "learning_rate": 5e-4, "weight_decay": 0.01, "cf_weight": 0.1, "diversity_weight": 1e-4}
SMALL_RPG = {"n_codebook": 8, "pca_dim": 64, "d_model": 128, "n_inner": 256, "n_layer": 2, "n_head": 2}
RPG = {"n_codebook": 16, "pca_dim": 128, "batch_size": 256}
SMALL_DIFFGRM = {"d_model": 64, "n_inner": 256, "decoder_n_layer": 2, "n_head": 4, "pca_dim": 64}


def settings(name: str, inputs: Inputs) -> Iterator[Settings]:
    """Those to try: small ones first, then the library's."""
    lengths = inputs.events().group_by("user").len()["len"]
    length = {"max_len": min(MAX_LENGTH, int(lengths.quantile(0.95) or 1) + 1)}
    match name:
        case "tiger":
            yield {**length, **SMALL_TIGER}
            yield {**length, **SMALL_TIGER, "dropout": 0.3}
            yield {**length, **TIGER}
        case "letter":
            yield {**length, **SMALL_TIGER, **SMALL_TOKENIZER, "cf_weight": 0.1, "diversity_weight": 1e-4}
            yield {**length, **SMALL_TIGER, **SMALL_TOKENIZER, "cf_weight": 0.02, "diversity_weight": 1e-3}
            yield {**length, **LETTER, **SMALL_TOKENIZER}
        case "rpg":
            for rate, temperature in ((3e-3, 0.07), (3e-3, 0.03), (1e-2, 0.03)):
                yield {**length, **SMALL_RPG, "batch_size": 64, "learning_rate": rate, "temperature": temperature}
            yield {**length, **RPG, "learning_rate": 3e-3, "temperature": 0.03}
        case _:
            for rate, smoothing in ((3e-3, 0.1), (1e-3, 0.1)):
                yield {
                    **length, **SMALL_DIFFGRM, "batch_size": 64, "learning_rate": rate, "label_smoothing": smoothing
                }  # fmt: skip
            yield {**length, "batch_size": 256, "learning_rate": 3e-3, "label_smoothing": 0.1}


def make_model(name: str, settings: Settings, seed: int, company: np.ndarray) -> Watched:
    """The library's model of these settings; `company` are LETTER's collaborative vectors."""
    common: dict[str, Any] = {
        "n_epochs": MAX_EPOCHS,
        "lr_schedule": "constant",
        "model_selection": "best",
        "val_eval_every": 3,
        "device": "cpu",
        "seed": seed,
    }
    match name:
        case "tiger":
            return WatchedTIGER(**settings, **common, tokenizer="rkmeans")
        case "letter":
            return WatchedLETTER(
                **settings,
                **common,
                cf_embeddings=company,
                cf_embedding_ids=range(len(company)),
                rqvae_kmeans_jobs=1,
                letter_base_vocab_size=2,  # padding and the end: no words are written here
                early_stopping_patience=None,
            )
        case "rpg":
            return WatchedRPG(**settings, **common, scoring="exact")
        case _:
            return WatchedDiffGRM(**settings, **common, min_history=1, faiss_omp_num_threads=1)


def sessions(events: pl.DataFrame, items: int, vectors: np.ndarray) -> SequentialDataset:
    """Every user's items as one session; all of the catalogue is known, under its own numbers."""
    rows = events.select("user", pl.col("user").alias("session"), "item", "position").rows()
    numbers = OrderedDict((item, item) for item in range(items))
    found = SequentialDataset.build(rows, fmt="USIT", global_iid_map=numbers)
    found.item_feature = FeatureModality(features=vectors)
    return found


def trainer(name: str, inputs: Inputs) -> Train:
    torch.set_num_threads(inputs.threads)
    if inputs.items < CODES:
        raise SystemExit(f"{name} makes codebooks of {CODES} codes, and there are only {inputs.items} items")
    vectors = sentence_vectors(inputs.item_text())

    def train(settings: Settings, events: pl.DataFrame, stopping: Stopping) -> Fitted:
        company = collaborative_vectors(events, inputs.users, inputs.items, 32, inputs.seed)
        model = make_model(name, settings, inputs.seed, company)
        model.stopping, model.beams = stopping, VALIDATION_BEAMS
        model.fit_watched(sessions(events, inputs.items, vectors))
        model.beams = BEAMS
        return Fitted(model.scores, sum(parameter.numel() for parameter in model.model.parameters()))

    return train


if __name__ == "__main__":
    run(__doc__, MODELS, settings, trainer, f"cornac {cornac.__version__}", PATIENCE, VALIDATION_USERS)
