"""A Hugging Face model as DeftRec reads it: from safetensors or as an architecture alone, ready to be run causally."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError, MissingExtraError
from deftrec.language.folder import reading
from deftrec.language.positions import PositionIds, Positions, positions_of

DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob"),  # BERT
    *("attention_dropout", "dropout", "dropout_rate"),  # Llama, BART, T5
    *("resid_pdrop", "embd_pdrop", "attn_pdrop"),  # GPT-2
)
"""How configurations call the dropout of embeddings, attention and branches."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class Backbone:
    """What reads the embedded tokens.

    Attributes:
        model: takes embeddings, a mask `[B, 1, T, T]` and, if it knows them, positions; gives `last_hidden_state`.
        positions: how it is told them.
        width: D, of its embeddings.
        longest: tokens that it reads at most; None: any number.
        dtype: of its weights.
        speaks: whether it was made to write word after word.
        output: scores of words, where they are not those of its word embeddings; None: they are.
    """

    model: nn.Module
    positions: Positions
    width: int
    longest: int | None
    dtype: torch.dtype
    speaks: bool
    output: nn.Module | None = None


def read_backbone(folder: Path, options: PretrainedOptions, *, weights: bool = True) -> Backbone:
    """The model of `folder`; of one with an encoder and a decoder the encoder, which reads without writing.

    Args:
        folder: with `config.json` and, unless `options.initial` is random, weights.
        options: dropout, attention, dtype.
        weights: false: the architecture alone, on the default device; for `meta`, where nothing has values.

    Raises:
        ConfigError: the folder cannot be read, or tuning nf4 has no GPU.
        MissingExtraError: bitsandbytes is missing for tuning nf4.
    """
    from transformers import (  # seconds that nobody else should wait for
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_MASKED_LM_MAPPING,
        MODEL_MAPPING,
        AutoConfig,
        AutoModel,
    )

    with reading(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, options.dropout)
    if options.layers is not None:
        _keep_lowest(config, options)
    config.use_cache = False  # unless it is asked for, as for writing word after word
    if hasattr(config, "is_decoder") and not getattr(config, "is_encoder_decoder", False):
        config.is_decoder = True  # an encoder keeps keys and values only then; the mask is ours either way
    architecture = MODEL_MAPPING.get(type(config), None)
    dtype = dtype_of(options, config)
    arguments: dict[str, Any] = {
        "attn_implementation": attention_of(options, architecture),
        "dtype": dtype,
        "trust_remote_code": False,
    }
    # A pooler reads the first token only, which here is a word; it would be trained by nothing.
    if architecture is not None and "add_pooling_layer" in inspect.signature(architecture.__init__).parameters:
        arguments["add_pooling_layer"] = False
    speaks = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING
    output = None
    with reading(folder):
        if weights and options.initial == "pretrained":
            if options.tuning == "nf4":
                arguments |= quantised(dtype)
            model = AutoModel.from_pretrained(folder, config=config, use_safetensors=True, **arguments)
            if speaks and options.reasoning.weight and not config.tie_word_embeddings:
                output = own_output(folder, config, dtype)
        else:
            model = AutoModel.from_config(config, **arguments)
    if getattr(config, "is_encoder_decoder", False):
        model = model.get_encoder()
    positions = positions_of(model, arguments["attn_implementation"] == "eager")
    width = int(model.get_input_embeddings().weight.shape[1])
    return Backbone(model, positions, width, longest_of(config, positions), dtype, speaks, output)


def _keep_lowest(config: Any, options: PretrainedOptions) -> None:
    """Cut the model to its lowest `options.layers` blocks; the weights of the others are not read.

    Raises:
        ConfigError: it has fewer blocks.
    """
    blocks = int(config.num_hidden_layers)
    if int(options.layers or blocks) > blocks:
        raise ConfigError(
            f"language.layers is {options.layers}, and {options.model} has {blocks} blocks: give fewer, or null"
        )
    config.num_hidden_layers = options.layers
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = config.layer_types[: options.layers]


def own_output(folder: Path, config: Any, dtype: torch.dtype) -> nn.Module | None:
    """The layer that scores words, as its files hold it; None where they hold none, as those of a base model."""
    from transformers import AutoModelForCausalLM

    whole, about = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        use_safetensors=True,
        dtype=dtype,
        output_loading_info=True,
        trust_remote_code=False,
    )
    output = whole.get_output_embeddings()
    names = {f"{name}.weight" for name, module in whole.named_modules() if module is output}
    return None if names & set(about["missing_keys"]) else output.requires_grad_(False)


def dtype_of(options: PretrainedOptions, config: Any) -> torch.dtype:
    """What the weights are kept in; trained ones always in fp32."""
    if options.tuning == "full" or options.initial == "random":
        return torch.float32
    if options.dtype != "auto":
        return DTYPES[options.dtype]
    return torch.bfloat16 if config.dtype in (torch.bfloat16, "bfloat16") else torch.float32


def attention_of(options: PretrainedOptions, architecture: Any) -> str:
    """The implementation of attention; the fused one where a GPU runs it and the model has it."""
    if options.attention != "auto":
        return options.attention
    return "sdpa" if torch.cuda.is_available() and getattr(architecture, "_supports_sdpa", False) else "eager"


def longest_of(config: Any, positions: Positions) -> int | None:
    """Tokens that the model reads at most: places of its table, and the window of layers that look no further back."""
    limits = []
    places = getattr(config, "max_position_embeddings", None)
    if places is not None:
        limits.append(int(places) - (positions.offset if isinstance(positions, PositionIds) else 0))
    max_history, kinds = getattr(config, "sliding_window", None), getattr(config, "layer_types", None)
    if max_history is not None and (kinds is None or "sliding_attention" in kinds):
        limits.append(int(max_history))
    return min(limits, default=None)


def quantised(dtype: torch.dtype) -> dict[str, Any]:
    """Arguments that read linear layers into 4 bits, NormalFloat with quantised constants (QLoRA, arXiv 2305.14314).

    Raises:
        ConfigError: there is no GPU.
        MissingExtraError: there is no bitsandbytes.
    """
    if not torch.cuda.is_available():
        raise ConfigError("language.tuning nf4 needs a GPU, and none is found here; set language.tuning to lora")
    try:
        import bitsandbytes  # noqa: F401 - `transformers` would not say which extra installs it
    except ImportError as error:
        raise MissingExtraError("bitsandbytes", "nf4", "language.tuning nf4") from error
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}
