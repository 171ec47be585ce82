"""A pre-trained Hugging Face model that reads continuous tokens as `inputs_embeds`, beside words of a prompt."""

import inspect
import re
import sys
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError
from deftrec.language.backbone import read_backbone
from deftrec.language.base import LanguageModel
from deftrec.language.check import check_mask
from deftrec.language.positions import PositionIds
from deftrec.language.prompts import PARAPHRASES, prompt_words, title_words
from deftrec.language.skeleton import tokenizer_of
from deftrec.language.tuning import tune

if TYPE_CHECKING:
    from transformers.cache_utils import Cache

MARK = re.compile(r"\s+([,;:])")


class PretrainedLanguageModel(LanguageModel):
    """Any causal model, encoder or encoder of an encoder-decoder that honours a mask of one's own, run causally.

    Weights are read from safetensors only, and no code from a model's repository is run. What ignores the mask or the
    positions is refused (`deftrec.language.check`).

    Args:
        folder: local folder with config, tokenizer and weights.
        options: tuning and prompt.
        domain: what the items are, for the prompt.
        ways: K, continuous tokens of one item.
        max_history: items of history that are wanted.
        titles: of every item, read where `options.titles` says so.
        skeleton: no weights and no check of them, and an estimate where there is no tokenizer: for the `meta` device.

    Attributes:
        max_history: items of history that are read, those that fit beside the words.
        prompts: word pieces around a history.
        tokenizer: of the model.
        end: the word piece that ends a text.
        speaks: whether the model was made to write word after word.
        caches: whether it can keep keys and values while it writes.

    Raises:
        ConfigError: the folder cannot be read, the model is none that can be used, or not even one item fits beside
            the words.
    """

    title_ids: Tensor

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
        self.in_files = options.initial == "pretrained"
        backbone = read_backbone(folder, options, weights=not skeleton)
        if not skeleton:
            check_mask(backbone, options.model)
        tokenizer = tokenizer_of(folder, estimate=skeleton)
        self.positions, self.width, self.dtype = backbone.positions, backbone.width, backbone.dtype
        keeps = "past_key_values" in inspect.signature(backbone.model.forward).parameters
        self.speaks, self.output = backbone.speaks, backbone.output
        self.caches = keeps and isinstance(self.positions, PositionIds)
        chat = options.chat if options.chat != "auto" else bool(getattr(tokenizer, "chat_template", None))
        self.tokenizer = tokenizer
        self.end = next(int(one) for one in (tokenizer.sep_token_id, tokenizer.eos_token_id, 0) if one is not None)
        self.prompts = prompt_words(options.prompts or PARAPHRASES, domain, tokenizer, chat)
        self.register_buffer("title_ids", title_words(list(titles), tokenizer, options.titles), persistent=False)
        self.max_history = self._window(options, backbone.longest, ways, max_history)
        self.model: nn.Module = tune(backbone.model, options)
        embeddings = backbone.model.get_input_embeddings()  # type: ignore[operator]
        norms = torch.linalg.vector_norm(embeddings.weight.detach(), dim=-1, dtype=torch.float32)
        # Gemma and BART multiply what they look up.
        self.scale = nn.Parameter(norms.mean() * getattr(embeddings, "embed_scale", 1.0))

    def _window(self, options: PretrainedOptions, longest: int | None, ways: int, max_history: int) -> int:
        """Items of history that fit beside the words into `longest` tokens, at most `max_history`."""
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
        """Embeddings of the prompt's words: in training of a paraphrase drawn anew, else the first. `[P, D]`"""
        several = len(self.prompts.before)
        drawn = int(torch.randint(several, (), device="cpu")) if self.training and several > 1 else 0
        return self.embed(torch.tensor(self.prompts.before[drawn], device=self.scale.device))

    def titles(self, items: Tensor) -> tuple[Tensor, Tensor] | None:
        """See `LanguageModel.titles`."""
        if not self.title_ids.shape[1]:
            return None
        ids = self.title_ids[items.clamp_min(0)]
        return self.embed(ids.clamp_min(0)), ids >= 0

    def with_titles(self, titles: Sequence[str]) -> "PretrainedLanguageModel":
        """See `LanguageModel.with_titles`."""
        extended = copy(self)
        extended._buffers = dict(self._buffers)
        more = title_words(list(titles), self.tokenizer, self.title_ids.shape[1])
        extended.title_ids = torch.cat([self.title_ids, more.to(self.title_ids.device)])
        return extended

    def embed(self, ids: Tensor) -> Tensor:
        """Word embeddings. `[...]` int64 -> `[..., D]`"""
        return self.model.get_input_embeddings()(ids)  # type: ignore[no-any-return, operator]

    def spell(self, pieces: list[list[int]]) -> list[str]:
        """Word pieces as text, those below 0 left out, marks close to the word before them."""
        rows = [[piece for piece in row if piece >= 0] for row in pieces]
        texts = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [MARK.sub(r"\1", text).strip() for text in texts]

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every word, by the model's own output layer or its word embeddings. `[..., D]` -> `[..., V]`"""
        if self.output is not None:
            return self.output(hidden.to(self.dtype))  # type: ignore[no-any-return]
        weight = self.model.get_input_embeddings().weight  # type: ignore[operator]
        return F.linear(hidden.to(weight.dtype), weight)

    def rescale(self, ways: Tensor) -> Tensor:
        """Continuous tokens get the norm of an average word: attention and layer norms expect it."""
        return F.normalize(ways, dim=-1) * self.scale

    def read(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """See `LanguageModel.read`."""
        return self.read_on(embeddings, mask, positions, None)

    def read_on(self, embeddings: Tensor, mask: Tensor, positions: Tensor, cache: "Cache | None") -> Tensor:
        """`read` of the T tokens that follow the C of `cache`, which they join.

        Args:
            embeddings: `[B, T, D]`
            mask: who reads whom, of all. `[B, T, C + T]` bool
            positions: `[B, T]` int64
            cache: of keys and values, where `caches` says so; None reads without one.
        """
        if self.dtype != torch.float32:  # else autocast decides: tokens may come in half the width, and stay so
            embeddings = embeddings.to(self.dtype)
        inputs = self.positions.inputs(embeddings, mask, positions)
        kept = {} if cache is None else {"past_key_values": cache, "use_cache": True}
        hidden: Tensor = self.model(**inputs, **kept).last_hidden_state
        return hidden if self.dtype == torch.float32 else hidden.float()
