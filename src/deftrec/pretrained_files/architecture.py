"""Architecture of a pre-trained model without its weights, for cost estimates on the `meta` device."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deftrec.pretrained_files.locate import GGUF, cached_architecture, from_hub, model_folder, present_folder
from deftrec.pretrained_files.packaged import PACKAGED_MODELS
from deftrec.pretrained_files.reading import reading

PACKAGED = Path(__file__).parent / "architectures"  # packaged `config.json` of well-known models, by hub id

LETTERS_PER_TOKEN = 4  # approximate number of letters per token of English text


@dataclass(frozen=True)
class Architecture:
    """Folder with `config.json` and possibly a tokenizer, and the kind of folder."""

    folder: Path
    source: Literal["local folder", "hub cache", "packaged copy", "hub"]


def architecture_of(model: str, revision: str | None = None) -> Architecture:
    """The architecture of a model, from a local folder, the hub's cache, the packaged copy, or the hub, in this order.

    Raises a `ConfigError` if the path is not a model folder, and a `DownloadError` if `config.json` could not be
    downloaded.
    """
    local = present_folder(model)
    if local is not None:
        return Architecture(local, "local folder")
    if model.endswith(GGUF):  # its header is read with its weights
        return Architecture(model_folder(model, revision), "local folder")
    cached = None if model in PACKAGED_MODELS else cached_architecture(model, revision)
    if cached is not None:
        return Architecture(cached, "hub cache")
    if (PACKAGED / model / "config.json").is_file():
        return Architecture(PACKAGED / model, "packaged copy")
    return Architecture(from_hub(model, revision, ["config.json"]), "hub")


def hidden_size(model: str) -> int:
    """Width of a model's hidden states, from its `config.json`."""
    from transformers import AutoConfig  # a slow import, only where needed

    folder = architecture_of(model).folder
    with reading(folder):
        return int(AutoConfig.from_pretrained(folder, trust_remote_code=False).hidden_size)


class EstimatedTokens:
    """Replaces a missing tokenizer: estimates numbers of tokens from numbers of letters."""

    cls_token_id = bos_token_id = sep_token_id = eos_token_id = None

    def __call__(self, text: str | list[str], **_: object) -> dict[str, Any]:
        """The estimated number of tokens, all of them id 0."""
        if isinstance(text, list):
            return {"input_ids": [self(one)["input_ids"] for one in text]}
        return {"input_ids": [0] * math.ceil(len(text) / LETTERS_PER_TOKEN)}


def tokenizer_of(folder: Path, *, estimate: bool) -> Any:
    """The tokenizer of `folder`; `EstimatedTokens` if it is missing and `estimate`.

    Raises a `ConfigError` if the tokenizer cannot be read.
    """
    from transformers import AutoTokenizer  # a slow import, only where needed

    if estimate and not has_tokenizer(folder):
        return EstimatedTokens()
    with reading(folder):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def has_tokenizer(folder: Path) -> bool:
    """Whether `folder` contains a tokenizer."""
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
