"""Tuning of a pre-trained model: none, full, or LoRA adapters beside its linear layers."""

import warnings

from torch import nn

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError


def tune(model: nn.Module, options: PretrainedOptions) -> nn.Module:
    """`model` with gradients for the weights that `options.tuning` trains, and for no others.

    A LoRA adapter (Hu et al. 2022, arXiv 2106.09685) starts at zero and is kept in fp32 whatever the model's type.

    Raises:
        ConfigError: the model does not support gradient checkpointing.
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
    return with_adapter(model, options)


def with_adapter(model: nn.Module, options: PretrainedOptions) -> nn.Module:
    """`model` with its weights frozen and a LoRA adapter beside every linear layer."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=options.lora_rank, lora_alpha=options.lora_alpha, lora_dropout=options.dropout, target_modules="all-linear"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads deprecated attributes of transformers
        adapted: nn.Module = get_peft_model(model, config)
    return adapted
