"""A pre-trained Hugging Face model that reads continuous tokens as `inputs_embeds`, beside words of a prompt."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError
from deftrec.language.backbone import read_backbone
from deftrec.language.base import LanguageModel
from deftrec.language.check import check_mask
from deftrec.language.skeleton import tokenizer_of
from deftrec.language.tuning import tune


class PretrainedLanguageModel(LanguageModel):
    """Any causal model, encoder or encoder of an encoder-decoder that honours a mask of one's own, run causally.

    Weights are read from safetensors only, and no code from a model's repository is run. What ignores the mask or the
    positions is refused (`deftrec.language.check`).

    Args:
        folder: local folder with config, tokenizer and weights.
        options: tuning and prompt.
        domain: what the items are, for the prompt.
        length: most tokens of one history (window x K).
        skeleton: no weights and no check of them, and an estimate where there is no tokenizer: for the `meta` device.

    Raises:
        ConfigError: the folder cannot be read, the model is none that can be used, or it reads fewer tokens than prompt
            and history have.
    """

    word_ids: Tensor

    def __init__(
        self, folder: Path, options: PretrainedOptions, domain: str, length: int, *, skeleton: bool = False
    ) -> None:
        super().__init__()
        self.in_files = options.initial == "pretrained"
        backbone = read_backbone(folder, options, weights=not skeleton)
        if not skeleton:
            check_mask(backbone, options.model)
        tokenizer = tokenizer_of(folder, estimate=skeleton)
        self.positions, self.width, self.dtype = backbone.positions, backbone.width, backbone.dtype
        prompt = options.prompt.format(domain=domain, history="").strip()
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if tokenizer.cls_token_id is not None:
            ids = [tokenizer.cls_token_id, *ids]
        self.register_buffer("word_ids", torch.tensor(ids, dtype=torch.int64), persistent=False)
        if backbone.longest is not None and len(ids) + length > backbone.longest:
            longest = backbone.longest
            raise ConfigError(
                f"{options.model} reads {longest} tokens, but the prompt's {len(ids)} words and a history of {length} "
                f"tokens are more: lower data.window x tokenizer.ways to {max(1, longest - len(ids))} or less"
            )
        self.model: nn.Module = tune(backbone.model, options)
        embeddings = backbone.model.get_input_embeddings()  # type: ignore[operator]
        norms = torch.linalg.vector_norm(embeddings.weight.detach(), dim=-1, dtype=torch.float32)
        # Gemma and BART multiply what they look up.
        self.scale = nn.Parameter(norms.mean() * getattr(embeddings, "embed_scale", 1.0))

    def words(self) -> Tensor:
        """Embeddings of the prompt's words. `[P, D]`"""
        return self.model.get_input_embeddings()(self.word_ids)  # type: ignore[no-any-return, operator]

    def rescale(self, ways: Tensor) -> Tensor:
        """Continuous tokens get the norm of an average word: attention and layer norms expect it."""
        return F.normalize(ways, dim=-1) * self.scale

    def read(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """See `LanguageModel.read`."""
        if self.dtype != torch.float32:
            embeddings = embeddings.to(self.dtype)
        hidden: Tensor = self.model(**self.positions.inputs(embeddings, mask, positions)).last_hidden_state
        return hidden if self.dtype == torch.float32 else hidden.float()
