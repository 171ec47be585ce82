"""A pre-trained Hugging Face model that reads continuous tokens as `inputs_embeds`, beside words of a prompt."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError
from deftrec.language.base import LanguageModel
from deftrec.language.folder import reading


class PretrainedLanguageModel(LanguageModel):
    """Any encoder or decoder that takes `inputs_embeds`, a 4-d mask and `position_ids`, run causally.

    Weights are read from safetensors only, and no code from a model's repository is run.

    Args:
        folder: local folder with config, tokenizer and weights.
        options: tuning and prompt.
        domain: what the items are, for the prompt.
        length: most tokens of one history (window x K).

    Raises:
        ConfigError: the folder cannot be read, or the model reads fewer tokens than prompt and history have.
    """

    word_ids: Tensor

    def __init__(self, folder: Path, options: PretrainedOptions, domain: str, length: int) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer  # seconds that nobody else should wait for

        super().__init__()
        with reading(folder):
            config = AutoConfig.from_pretrained(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder)
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
        prompt = options.prompt.format(domain=domain, history="").strip()
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if tokenizer.cls_token_id is not None:
            ids = [tokenizer.cls_token_id, *ids]
        self.register_buffer("word_ids", torch.tensor(ids, dtype=torch.int64), persistent=False)
        longest = getattr(config, "max_position_embeddings", None)
        if longest is not None and len(ids) + length > longest:
            raise ConfigError(
                f"{options.model} reads {longest} tokens, but the prompt's {len(ids)} words and a history of {length} "
                f"tokens are more: lower data.window x tokenizer.ways to {max(1, longest - len(ids))} or less"
            )
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

    def words(self) -> Tensor:
        """Embeddings of the prompt's words. `[P, D]`"""
        return self.model.get_input_embeddings()(self.word_ids)  # type: ignore[no-any-return, operator]

    def rescale(self, ways: Tensor) -> Tensor:
        """Continuous tokens get the norm of an average word: attention and layer norms expect it."""
        return F.normalize(ways, dim=-1) * self.scale

    def read(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """See `LanguageModel.read`."""
        mask = mask[:, None]  # [B, 1, T, T]
        if self.attention == "eager":  # which adds the mask to its logits
            mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, torch.finfo(torch.float32).min)
        out = self.model(inputs_embeds=embeddings, attention_mask=mask, position_ids=positions)
        return out.last_hidden_state  # type: ignore[no-any-return]
