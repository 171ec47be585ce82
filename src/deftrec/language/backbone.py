"""A Hugging Face model prepared to read embeddings causally: from safetensors, or its architecture alone."""

import inspect
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError, MissingExtraError
from deftrec.language.default_dtype import guard_default_dtype
from deftrec.language.positions import PositionIds, Positions, positions_of
from deftrec.pretrained_files.reading import reading

DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob"),  # BERT
    *("attention_dropout", "dropout", "dropout_rate"),  # Llama, BART, T5
    *("resid_pdrop", "embd_pdrop", "attn_pdrop"),  # GPT-2
)
"""Names that model configurations give to dropout rates."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class Backbone:
    """A pre-trained model and its properties.

    Attributes:
        model: returns `last_hidden_state` for embeddings, a mask `[B, 1, T, T]` and, if supported, positions.
        positions: conversion of token positions to the model's inputs.
        width: width D of its embeddings.
        longest: largest number of tokens it reads; None: no limit.
        dtype: type of its weights.
        causal: whether it was pre-trained to write text.
        output: output layer over the vocabulary; None: the word embeddings serve as output layer.
    """

    model: nn.Module
    positions: Positions
    width: int
    longest: int | None
    dtype: torch.dtype
    causal: bool
    output: nn.Module | None = None


def read_backbone(folder: Path, options: PretrainedOptions, *, weights: bool = True) -> Backbone:
    """The model in `folder`; the encoder of an encoder-decoder model.

    Without `weights`, the architecture alone is built, for the `meta` device. Raises a `ConfigError` if the folder
    cannot be read, has fewer blocks than `options.layers`, or tuning nf4 has no GPU; and a `MissingExtraError` if
    bitsandbytes is missing for tuning nf4.
    """
    from transformers import (  # a slow import, only where needed
        MODEL_MAPPING,
        AutoConfig,
        AutoModel,
    )

    with reading(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, options.dropout)
    if options.layers is not None:  # the weights of the other blocks are not read
        if options.layers > config.num_hidden_layers:
            raise ConfigError(
                f"language.layers is {options.layers}, and {options.model} has {config.num_hidden_layers} blocks: give "
                "fewer, or null"
            )
        config.num_hidden_layers = options.layers
        if getattr(config, "layer_types", None) is not None:
            config.layer_types = config.layer_types[: options.layers]
    config.use_cache = False  # `read` asks for it where it generates text
    if hasattr(config, "is_decoder") and not getattr(config, "is_encoder_decoder", False):
        config.is_decoder = True  # an encoder caches keys and values only then; DeftRec passes its own mask
    architecture = MODEL_MAPPING.get(type(config), None)
    if options.tuning == "full":  # weights that are trained are fp32
        dtype = torch.float32
    elif options.dtype == "auto":
        dtype = torch.bfloat16 if config.dtype in (torch.bfloat16, "bfloat16") else torch.float32
    else:
        dtype = DTYPES[options.dtype]
    arguments: dict[str, Any] = {
        "attn_implementation": attention_of(architecture) if weights else "eager",
        "dtype": dtype,
        "trust_remote_code": False,
    }
    # A pooler reads the first token only, a word of the prompt; nothing would train it.
    if architecture is not None and "add_pooling_layer" in inspect.signature(architecture.__init__).parameters:
        arguments["add_pooling_layer"] = False
    causal, output = writes_text(config), None
    guard_default_dtype()
    with reading(folder):
        if weights:
            if options.tuning == "nf4":
                arguments |= quantised(dtype)
            model = AutoModel.from_pretrained(folder, config=config, use_safetensors=True, **arguments)
            if causal and options.reasoning.weight and not config.tie_word_embeddings:
                output = own_output(folder, config, dtype)
        else:
            model = AutoModel.from_config(config, **arguments)
    if getattr(config, "is_encoder_decoder", False):
        model = model.get_encoder()
    positions = positions_of(model, arguments["attn_implementation"] == "eager")
    width = int(model.get_input_embeddings().weight.shape[1])
    return Backbone(model, positions, width, longest_of(config, positions), dtype, causal, output)


def writes_text(config: Any) -> bool:
    """Whether a model of this configuration was pre-trained to write text, one token after the other."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING


def own_output(folder: Path, config: Any, dtype: torch.dtype) -> nn.Module | None:
    """The output layer over the vocabulary; None if the files hold none, as for base models."""
    from transformers import AutoModelForCausalLM

    whole, about = AutoModelForCausalLM.from_pretrained(
        folder, config=config, use_safetensors=True, dtype=dtype, output_loading_info=True, trust_remote_code=False
    )
    output = whole.get_output_embeddings()
    names = {f"{name}.weight" for name, module in whole.named_modules() if module is output}
    return None if names & set(about["missing_keys"]) else output.requires_grad_(False)


def attention_of(architecture: Any) -> str:
    """Attention implementation: fused (sdpa) on a GPU if the model has it; eager on a CPU, where it is faster."""
    return "sdpa" if torch.cuda.is_available() and getattr(architecture, "_supports_sdpa", False) else "eager"


def longest_of(config: Any, positions: Positions) -> int | None:
    """Largest number of tokens the model reads: size of its position table, or window of its sliding attention."""
    limits = []
    places, window = getattr(config, "max_position_embeddings", None), getattr(config, "sliding_window", None)
    if places is not None:
        limits.append(int(places) - (positions.offset if isinstance(positions, PositionIds) else 0))
    kinds = getattr(config, "layer_types", None)
    if window is not None and (kinds is None or "sliding_attention" in kinds):
        limits.append(int(window))
    return min(limits, default=None)


def quantised(dtype: torch.dtype) -> dict[str, Any]:
    """Arguments that load linear layers in 4 bits: NormalFloat, quantised constants (QLoRA, arXiv 2305.14314).

    Raises:
        ConfigError, MissingExtraError: there is no GPU, or no bitsandbytes.
    """
    if not torch.cuda.is_available():
        raise ConfigError("language.tuning nf4 needs a GPU, and none is found here; set language.tuning to lora")
    try:
        import bitsandbytes  # noqa: F401 - `transformers` would not name the extra to install
    except ImportError as error:
        raise MissingExtraError("bitsandbytes", "nf4", "language.tuning nf4") from error
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def tune(model: nn.Module, options: PretrainedOptions) -> nn.Module:
    """`model` with gradients for the weights that `options.tuning` trains, and for no others.

    A LoRA adapter (Hu et al. 2022, arXiv 2106.09685) starts at zero and is kept in fp32 whatever the model's type.
    Raises a `ConfigError` if the model does not support gradient checkpointing.
    """
    if options.gradient_checkpointing:
        # The older name of this method warns in newer versions of transformers.
        new = getattr(model, "activation_checkpointing_enable", None)
        try:
            (new or model.gradient_checkpointing_enable)({"use_reentrant": False})  # type: ignore[operator]
        except ValueError as error:
            raise ConfigError(
                f"{options.model}: does not support gradient checkpointing; set language.gradient_checkpointing to "
                "false"
            ) from error
    if options.tuning == "full":
        # Only the prompt's words would get a gradient; the table of word embeddings stays fixed.
        model.get_input_embeddings().requires_grad_(False)  # type: ignore[operator]
        return model
    if options.tuning == "frozen":
        return model.requires_grad_(False)
    from peft import LoraConfig, get_peft_model

    linear = "all-linear" if options.tuned_layers is None else _highest(model, options.tuned_layers)
    config = LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.dropout,
        target_modules=linear,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads deprecated attributes of transformers
        adapted: nn.Module = get_peft_model(model, config)
    return adapted


def blocks_of(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Path and list of a model's blocks: its longest list of modules."""
    rows = [(path, inner) for path, inner in model.named_modules() if isinstance(inner, nn.ModuleList)]
    return max(rows, key=lambda row: len(row[1]))


def _highest(model: nn.Module, count: int) -> list[str]:
    """Names of the linear layers inside the highest `count` blocks of a model."""
    path, blocks = blocks_of(model)
    return [
        f"{path}.{number}.{name}"
        for number, block in list(enumerate(blocks))[-count:]
        for name, inner in block.named_modules()
        if isinstance(inner, nn.Linear)
    ]
