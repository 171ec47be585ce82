"""Sentence vectors of the catalogue's text, by a pre-trained sentence model."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.language.folder import reading


def sentence_vectors(
    texts: list[str],
    folder: Path,
    *,
    max_tokens: int,
    device: torch.device,
    dtype: torch.dtype,
    batch_size: int = 64,
    on_batch: Callable[[int], None] | None = None,
) -> Tensor:
    """Mean-pooled, normalised sentence vectors (Sentence-BERT, Reimers and Gurevych 2019).

    Args:
        texts: N texts; an empty one gives a row of zeros.
        folder: the model's files.
        max_tokens: longer texts are cut.
        dtype: of the matrix products, by autocast.
        on_batch: called with the number of texts done since the last call.

    Returns:
        `[N, e]` float32, on the CPU.

    Raises:
        ConfigError: the folder cannot be read.
    """
    from transformers import AutoModel, AutoTokenizer  # seconds that nobody else should wait for

    with reading(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            attn_implementation="sdpa",
            dtype=torch.float32,
            trust_remote_code=False,
        )
    model = model.eval().to(device)
    vectors = torch.zeros(len(texts), int(model.config.hidden_size))
    # Texts of like length share a batch: hardly any padding is computed.
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
