"""A language model without its weights, to be counted and measured on the `meta` device, where nothing has values."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from deftrec.pretrained_files.locate import (
    MINILM,
    architecture_on_hub,
    cached_architecture,
    installed_minilm,
    local_folder,
)
from deftrec.pretrained_files.reading import reading

PACKAGED = Path(__file__).parent / "architectures"
"""`config.json` of well-known models, under their hub ids."""

LETTERS_PER_TOKEN = 4
"""Of English prose, roughly, for any tokenizer of tens of thousands of words."""

Source: TypeAlias = Literal["local folder", "hub cache", "packaged copy", "hub"]


@dataclass(frozen=True)
class Architecture:
    """Where the shape of a model was read.

    Attributes:
        folder: holds `config.json`; a tokenizer perhaps.
        source: what that folder is.
    """

    folder: Path
    source: Source


def architecture_of(model: str, revision: str | None = None) -> Architecture:
    """The shape of a model, by the nearest way: what lies here, what is packaged, and only then the hub.

    Raises:
        ConfigError: the path is no model folder.
        DownloadError: the hub gave no `config.json`.
    """
    folder = installed_minilm() if model == MINILM else local_folder(model)
    if folder is not None:
        return Architecture(folder, "local folder")
    cached = None if model == MINILM else cached_architecture(model, revision)
    if cached is not None:
        return Architecture(cached, "hub cache")
    packaged = PACKAGED / model
    if (packaged / "config.json").is_file():
        return Architecture(packaged, "packaged copy")
    return Architecture(architecture_on_hub(model, revision), "hub")


def hidden_size(model: str) -> int:
    """Width of a model's hidden states, from its configuration alone."""
    from transformers import AutoConfig  # seconds that nobody else should wait for

    folder = architecture_of(model).folder
    with reading(folder):
        return int(AutoConfig.from_pretrained(folder, trust_remote_code=False).hidden_size)


class EstimatedTokens:
    """Stands for a tokenizer that is not at hand: counts letters, and knows no token by its name."""

    cls_token_id = None
    bos_token_id = None
    sep_token_id = None
    eos_token_id = None

    def __call__(self, text: str | list[str], **_: object) -> dict[str, Any]:
        """As many tokens as texts of this length have, all of them the first of the vocabulary."""
        if isinstance(text, list):
            return {"input_ids": [self(one)["input_ids"] for one in text]}
        return {"input_ids": [0] * math.ceil(len(text) / LETTERS_PER_TOKEN)}


def tokenizer_of(folder: Path, *, estimate: bool) -> Any:
    """The tokenizer of `folder`.

    Args:
        estimate: where there is none, give an estimate of what it would say.

    Raises:
        ConfigError: there is none that can be read.
    """
    from transformers import AutoTokenizer  # seconds that nobody else should wait for

    if estimate and not has_tokenizer(folder):
        return EstimatedTokens()
    with reading(folder):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer lies in `folder`."""
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
