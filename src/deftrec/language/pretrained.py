"""A pre-trained Hugging Face model that reads continuous tokens as `inputs_embeds`, among words of a prompt."""

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError
from deftrec.language.backbone import blocks_of, read_backbone, tune
from deftrec.language.base import LanguageModel
from deftrec.language.check import check_mask
from deftrec.language.positions import PositionIds
from deftrec.language.prompts import PARAPHRASES, prompt_words, title_words
from deftrec.pretrained_files.architecture import tokenizer_of

if TYPE_CHECKING:
    from transformers.cache_utils import Cache

MARK = re.compile(r"\s+([,;:])")


class PretrainedLanguageModel(LanguageModel):
    """A causal model, an encoder, or the encoder of an encoder-decoder model, read causally under DeftRec's mask.

    Weights are read from safetensors only, and no code from a model's repository is run. Models that ignore the mask or
    the positions are refused (`deftrec.language.check`). Raises a `ConfigError` if the folder cannot be read, the model
    is not usable, or no item fits beside the words.

    Args:
        folder: local folder with config, tokenizer and weights.
        options: tuning, prompts and titles.
        domain: kind of items, for the prompt.
        ways: number of continuous tokens K per item.
        max_history: wanted number of history items.
        titles: title of every item; read if `options.titles` is above 0.
        skeleton: whether the model is built without weights, for the `meta` device; a missing tokenizer is estimated.

    Attributes:
        max_history: largest number of history items that fit beside the words.
        prompts: token ids around a history.
        tokenizer: the model's tokenizer.
        title_ids: token ids of every title, -1 after its end. `[I, titles]` int64
        end: token id that ends a text.
        causal: whether the model was pre-trained to write text.
        caches: whether it can cache keys and values.
    """

    def __init__(
        self,
        folder: Path,
        options: PretrainedOptions,
        domain: str,
        ways: int,
        max_history: int,
        titles: Sequence[str],
        *,
        skeleton: bool = False,
    ) -> None:
        super().__init__()
        backbone = read_backbone(folder, options, weights=not skeleton)
        if not skeleton:
            check_mask(backbone, options.model)
        self.tokenizer = tokenizer = tokenizer_of(folder, estimate=skeleton)
        self.positions, self.width, self.dtype = backbone.positions, backbone.width, backbone.dtype
        self.causal, self.output = backbone.causal, backbone.output
        keeps = "past_key_values" in inspect.signature(backbone.model.forward).parameters
        self.caches = keeps and isinstance(self.positions, PositionIds)
        chat = options.chat if options.chat != "auto" else bool(getattr(tokenizer, "chat_template", None))
        self.end = next(int(one) for one in (tokenizer.sep_token_id, tokenizer.eos_token_id, 0) if one is not None)
        self.prompts = prompt_words(options.prompts or PARAPHRASES, domain, tokenizer, chat)
        # No buffer: `with_titles` replaces it in a copy that shares every module and buffer.
        self.title_ids = title_words(list(titles), tokenizer, options.titles)
        self.max_history = self._longest_history(options, backbone.longest, ways, max_history)
        self.model: nn.Module = tune(backbone.model, options)
        embeddings = backbone.model.get_input_embeddings()  # type: ignore[operator]
        norms = torch.linalg.vector_norm(embeddings.weight.detach(), dim=-1, dtype=torch.float32)
        # Gemma and BART scale their embeddings.
        self.scale = nn.Parameter(norms.mean() * getattr(embeddings, "embed_scale", 1.0))

    def _longest_history(self, options: PretrainedOptions, longest: int | None, ways: int, max_history: int) -> int:
        """Number of history items that fit beside the words into `longest` tokens, at most `max_history`."""
        most = min(one for one in (longest, options.max_tokens, sys.maxsize) if one is not None)
        words = max(map(len, self.prompts.before))
        if options.reasoning.weight:
            words += len(self.prompts.after) + options.reasoning.max_tokens
        room = (most - words) // (ways + options.titles)
        if room < 1:
            raise ConfigError(
                f"{options.model}: {most} tokens hold no item beside {words} words; raise language.max_tokens, shorten "
                f"language.prompts, or lower language.titles ({options.titles}) or tokenizer.ways ({ways})"
            )
        return min(max_history, room)

    def words(self) -> Tensor:
        """Embeddings of the prompt's words: a random paraphrase in training, else the first one. `[P, D]`"""
        several = len(self.prompts.before)
        drawn = int(torch.randint(several, (), device="cpu")) if self.training and several > 1 else 0
        return self.embed(torch.tensor(self.prompts.before[drawn], device=self.scale.device))

    def titles(self, items: Tensor) -> tuple[Tensor, Tensor] | None:
        """See `LanguageModel.titles`."""
        if not self.title_ids.shape[1]:
            return None
        if self.title_ids.device != items.device:
            self.title_ids = self.title_ids.to(items.device)
        ids = self.title_ids[items.clamp_min(0)]
        return self.embed(ids.clamp_min(0)), ids >= 0

    def with_titles(self, titles: Sequence[str]) -> "PretrainedLanguageModel":
        """See `LanguageModel.with_titles`."""
        extended = copy(self)
        more = title_words(list(titles), self.tokenizer, self.title_ids.shape[1])
        extended.title_ids = torch.cat([self.title_ids, more.to(self.title_ids.device)])
        return extended

    @property
    def vocabulary(self) -> int:
        """Number of word embeddings."""
        return len(self.model.get_input_embeddings().weight)  # type: ignore[operator]

    def embed(self, ids: Tensor) -> Tensor:
        """Word embeddings. `[...]` int64 -> `[..., D]`"""
        return self.model.get_input_embeddings()(ids)  # type: ignore[no-any-return, operator]

    def token_ids(self, text: str) -> list[int]:
        """Token ids of a text; special tokens in it are read as plain text."""
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def spell(self, pieces: list[list[int]]) -> list[str]:
        """Token ids as text, without ids below 0 and without spaces before punctuation marks."""
        rows = [[piece for piece in row if piece >= 0] for row in pieces]
        texts = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [MARK.sub(r"\1", text).strip() for text in texts]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary, by the output layer or the word embeddings. `[..., D]` -> `[..., V]`"""
        if self.output is not None:
            return self.output(hidden.to(self.dtype))  # type: ignore[no-any-return]
        weight = self.model.get_input_embeddings().weight  # type: ignore[operator]
        return F.linear(hidden.to(weight.dtype), weight)

    def rescale(self, ways: Tensor) -> Tensor:
        """Continuous tokens with the mean norm of the word embeddings, which the model's layers expect."""
        return F.normalize(ways, dim=-1) * self.scale

    @contextmanager
    def lowest(self, count: int | None) -> Iterator[None]:
        """Run the lowest `count` blocks alone inside the block, less than 0: all but so many; None: all of them."""
        path, blocks = blocks_of(self.model)
        owner, _, name = path.rpartition(".")
        parent = self.model.get_submodule(owner)
        setattr(parent, name, blocks if count is None else blocks[:count])
        try:
            yield
        finally:
            setattr(parent, name, blocks)

    def read(self, embeddings: Tensor, mask: Tensor, positions: Tensor, cache: "Cache | None" = None) -> Tensor:
        """See `LanguageModel.read`; reads T tokens after the C tokens in `cache`, if any, and adds them to it.

        The mask is `[B, T, C + T]`. A cache needs a model that `caches`.
        """
        if self.dtype != torch.float32:  # else autocast decides
            embeddings = embeddings.to(self.dtype)
        inputs = self.positions.inputs(embeddings, mask, positions)
        kept = {} if cache is None else {"past_key_values": cache, "use_cache": True}
        hidden: Tensor = self.model(**inputs, **kept).last_hidden_state
        return hidden if self.dtype == torch.float32 else hidden.float()
