"""A pre-trained Hugging Face model that reads continuous tokens as `inputs_embeds`, beside words of a prompt."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError
from deftrec.language.base import LanguageModel
from deftrec.language.folder import reading
from deftrec.language.prompts import PARAPHRASES, prompt_words, title_words

if TYPE_CHECKING:
    from transformers import PretrainedConfig as HubConfig
    from transformers.cache_utils import Cache


class PretrainedLanguageModel(LanguageModel):
    """Any encoder or decoder that takes `inputs_embeds`, a 4-d mask and `position_ids`, run causally.

    Weights are read from safetensors only, and no code from a model's repository is run.

    Args:
        folder: local folder with config, tokenizer and weights.
        options: tuning and prompt.
        domain: what the items are, for the prompt.
        ways: K, continuous tokens of one item.
        window: items of history that are wanted.
        titles: of every item, read where `options.titles` says so.

    Attributes:
        window: items of history that are read, those that fit beside the words.
        prompts: word pieces around a history.
        tokenizer: of the model.
        end: the word piece that ends a text.

    Raises:
        ConfigError: the folder cannot be read, or not even one item fits beside the words.
    """

    title_ids: Tensor

    def __init__(
        self, folder: Path, options: PretrainedOptions, domain: str, ways: int, window: int, titles: Sequence[str]
    ) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer  # seconds that nobody else should wait for

        super().__init__()
        with reading(folder):
            config = AutoConfig.from_pretrained(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder)
        if hasattr(config, "is_decoder"):
            config.is_decoder = True  # an encoder keeps keys and values only then; the mask is ours either way
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout"):
            if hasattr(config, name):
                setattr(config, name, options.dropout)
        # The pooler reads the first token only, which here is a word; it would be trained by nothing.
        extra = {"add_pooling_layer": False} if config.model_type == "bert" else {}
        attention: str = options.attention
        if attention == "auto":
            attention = "sdpa" if torch.cuda.is_available() else "eager"
        arguments = {"attn_implementation": attention, "dtype": torch.float32, **extra}
        self.in_files = options.initial == "pretrained"
        with reading(folder):
            if self.in_files:
                model = AutoModel.from_pretrained(folder, config=config, use_safetensors=True, **arguments)
            else:
                model = AutoModel.from_config(config, **arguments)
        self.attention, self.width = attention, int(config.hidden_size)
        chat = options.chat if options.chat != "auto" else bool(getattr(tokenizer, "chat_template", None))
        self.tokenizer = tokenizer
        self.end = next(int(one) for one in (tokenizer.sep_token_id, tokenizer.eos_token_id, 0) if one is not None)
        self.prompts = prompt_words(options.prompts or PARAPHRASES, domain, tokenizer, chat)
        self.register_buffer("title_ids", title_words(list(titles), tokenizer, options.titles), persistent=False)
        self.window = self._window(options, config, ways, window)
        if options.tuning == "frozen":
            model.requires_grad_(False)
        elif options.tuning == "lora":
            from peft import LoraConfig, get_peft_model

            model = get_peft_model(
                model,
                LoraConfig(
                    r=options.lora_rank,
                    lora_alpha=options.lora_alpha,
                    lora_dropout=options.dropout,
                    target_modules="all-linear",
                ),
            )
        else:  # word embeddings outside the prompt get no gradient; a table of 30 k rows need not be stepped
            model.get_input_embeddings().requires_grad_(False)
        self.model: nn.Module = model
        embeddings = model.get_input_embeddings()
        self.scale = nn.Parameter(embeddings.weight.detach().norm(dim=-1).mean().clone())

    def _window(self, options: PretrainedOptions, config: "HubConfig", ways: int, window: int) -> int:
        """Items of history that fit beside the words, at most `window`."""
        longest = getattr(config, "max_position_embeddings", None)
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
        return min(window, room)

    def words(self) -> Tensor:
        """Embeddings of the prompt's words: in training of a paraphrase drawn anew, else the first. `[P, D]`"""
        drawn = int(torch.randint(len(self.prompts.before), ())) if self.training else 0
        return self.embed(torch.tensor(self.prompts.before[drawn], device=self.scale.device))

    def titles(self, items: Tensor) -> tuple[Tensor, Tensor] | None:
        """See `LanguageModel.titles`."""
        if not self.title_ids.shape[1]:
            return None
        ids = self.title_ids[items.clamp_min(0)]
        return self.embed(ids.clamp_min(0)), ids >= 0

    def embed(self, ids: Tensor) -> Tensor:
        """Word embeddings. `[...]` int64 -> `[..., D]`"""
        return self.model.get_input_embeddings()(ids)  # type: ignore[no-any-return, operator]

    def spell(self, pieces: list[list[int]]) -> list[str]:
        """Word pieces as text, those below 0 left out."""
        rows = [[piece for piece in row if piece >= 0] for row in pieces]
        return [text.strip() for text in self.tokenizer.batch_decode(rows, skip_special_tokens=True)]

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every word, by the word embeddings themselves (tied). `[..., D]` -> `[..., V]`"""
        return hidden @ self.model.get_input_embeddings().weight.to(hidden.dtype).T  # type: ignore[no-any-return, operator]

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
            cache: of keys and values; None reads without one.
        """
        mask = mask[:, None]  # [B, 1, T, C + T]
        if self.attention == "eager":  # which adds the mask to its logits
            mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, torch.finfo(torch.float32).min)
        out = self.model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return out.last_hidden_state  # type: ignore[no-any-return]
