"""Sentence vectors of item texts, computed by a pre-trained sentence model."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.pretrained_files.reading import reading


class SentenceModel:
    """A pre-trained sentence model: mean-pooled, normalised vectors (Sentence-BERT, Reimers and Gurevych 2019).

    Args:
        folder: folder with the model's files.
        device: device of the computation.

    Raises:
        ConfigError: the folder cannot be read.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        from transformers import AutoModel, AutoTokenizer  # a slow import, only where needed

        self.device = device
        with reading(folder):
            self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model = AutoModel.from_pretrained(
                folder, use_safetensors=True, attn_implementation="sdpa", dtype=torch.float32, trust_remote_code=False
            )
        self.model = model.eval().to(device)

    def vectors(
        self,
        texts: list[str],
        *,
        max_tokens: int,
        dtype: torch.dtype,
        batch_size: int = 64,
        on_batch: Callable[[int], None] | None = None,
    ) -> Tensor:
        """One vector per text; zeros for an empty text.

        Args:
            texts: N texts.
            max_tokens: largest number of tokens per text; the rest is cut.
            dtype: type of the matrix products, by autocast.
            on_batch: called with the number of texts done since the last call.

        Returns:
            `[N, e]` float32, on the CPU.
        """
        vectors = torch.zeros(len(texts), int(self.model.config.hidden_size))
        # Texts of similar length share a batch, which saves padding.
        order = sorted((n for n, text in enumerate(texts) if text.strip()), key=lambda n: len(texts[n]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            words = self.tokenizer(
                [texts[n] for n in rows], padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
            ).to(self.device)
            with torch.inference_mode(), torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
                hidden = self.model(**words).last_hidden_state.float()
            present = words["attention_mask"][:, :, None].float()
            pooled = (hidden * present).sum(1) / present.sum(1)
            vectors[torch.tensor(rows)] = F.normalize(pooled, dim=-1).cpu()
            if on_batch:
                on_batch(len(rows))
        return vectors


@lru_cache(maxsize=1)
def kept_sentence_model(folder: Path, device: torch.device) -> SentenceModel:
    """The model in `folder`, cached: a service receives one new item after another."""
    return SentenceModel(folder, device)


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
    """`SentenceModel.vectors` of a model loaded for these texts only."""
    model = SentenceModel(folder, device)
    return model.vectors(texts, max_tokens=max_tokens, dtype=dtype, batch_size=batch_size, on_batch=on_batch)
