"""Sentence vectors of item texts, computed by a pre-trained sentence model."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.pretrained_files.reading import reading


def sentence_vectors(
    texts: list[str],
    folder: Path,
    *,
    max_tokens: int,
    device: torch.device,
    dtype: torch.dtype,
    batch_size: int = 64,
    on_batch: Callable[[int], None] | None = None,
    keep: bool = False,
) -> Tensor:
    """One mean-pooled, normalised vector per text (Sentence-BERT, Reimers and Gurevych 2019); zeros for an empty text.

    Raises a `ConfigError` if the folder cannot be read. Returns `[N, e]` float32, on the CPU.

    Args:
        texts: N texts.
        folder: folder with the sentence model's files.
        max_tokens: largest number of tokens per text; the rest is cut.
        device: device of the computation.
        dtype: type of the matrix products, by autocast.
        batch_size: number of texts per batch.
        on_batch: called with the number of texts done since the last call.
        keep: whether the model stays in memory for the next call: a service receives one new item after another.
    """
    tokenizer, model = (_kept if keep else _load)(folder, device)
    vectors = torch.zeros(len(texts), int(model.config.hidden_size))
    # Texts of similar length share a batch, which saves padding.
    order = sorted((n for n, text in enumerate(texts) if text.strip()), key=lambda n: len(texts[n]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        words = tokenizer(
            [texts[n] for n in rows], padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
        ).to(device)
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            hidden = model(**words).last_hidden_state.float()
        present = words["attention_mask"][:, :, None].float()
        pooled = (hidden * present).sum(1) / present.sum(1)
        vectors[torch.tensor(rows)] = F.normalize(pooled, dim=-1).cpu()
        if on_batch:
            on_batch(len(rows))
    return vectors


def _load(folder: Path, device: torch.device) -> tuple[Any, Any]:
    """Tokenizer and model."""
    from transformers import AutoModel, AutoTokenizer  # a slow import, only where needed

    with reading(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModel.from_pretrained(
            folder, use_safetensors=True, attn_implementation="sdpa", dtype=torch.float32, trust_remote_code=False
        )
    return tokenizer, model.eval().to(device)


_kept = lru_cache(maxsize=1)(_load)
