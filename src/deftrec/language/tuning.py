"""What of a pre-trained model is trained: nothing, everything, or an adapter beside its linear layers (LoRA)."""

import itertools
import warnings

from torch import nn

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError


def tune(model: nn.Module, options: PretrainedOptions) -> nn.Module:
    """`model` with what `options.tuning` trains, and nothing else, wanting gradients.

    An adapter (Hu et al. 2022, arXiv 2106.09685) starts as zero and is kept in fp32 whatever the model is kept in.

    Raises:
        ConfigError: `lora_targets` names no layer, `frozen_layers` leave none, or the model cannot compute
            activations again.
    """
    if options.gradient_checkpointing:
        # Its name in older versions warns in newer ones.
        new = getattr(model, "activation_checkpointing_enable", None)
        try:
            (new or model.gradient_checkpointing_enable)({"use_reentrant": False})  # type: ignore[operator]
        except ValueError as error:
            raise ConfigError(
                f"{options.model}: cannot compute activations again; set language.gradient_checkpointing to false"
            ) from error
    if options.tuning == "full":
        # Words outside the prompt get no gradient; a table of 30 k rows need not be stepped.
        model.get_input_embeddings().requires_grad_(False)  # type: ignore[operator]
        freeze_lowest(model, options)
        return model
    if options.tuning == "frozen":
        return model.requires_grad_(False)
    return with_adapter(model, options)


def freeze_lowest(model: nn.Module, options: PretrainedOptions) -> None:
    """The lowest `options.frozen_layers` blocks want no gradients, nor does what was built before them: embeddings.

    Raises:
        ConfigError: the model has no blocks beyond these.
    """
    if not options.frozen_layers:
        return
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    blocks = max(stacks, key=len, default=nn.ModuleList())
    if options.frozen_layers >= len(blocks):
        raise ConfigError(
            f"language.frozen_layers is {options.frozen_layers}, and {options.model} has {len(blocks)} blocks: give "
            "fewer, or set language.tuning to frozen"
        )
    lowest_trained = next(blocks[options.frozen_layers].parameters())
    for parameter in itertools.takewhile(lambda one: one is not lowest_trained, model.parameters()):
        parameter.requires_grad_(False)


def with_adapter(model: nn.Module, options: PretrainedOptions) -> nn.Module:
    """`model` frozen, and a low-rank adapter beside each layer of `options.lora_targets`.

    Raises:
        ConfigError: it has no layer of these names.
    """
    from peft import LoraConfig, get_peft_model

    targets = options.lora_targets
    if targets != "all-linear":
        known = linear_layers(model)
        unknown = sorted(set(targets) - known)
        if unknown:
            raise ConfigError(
                f"language.lora_targets: {options.model} has no layer {unknown[0]!r}; it has {', '.join(sorted(known))}"
            )
    config = LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by names of older versions
        adapted: nn.Module = get_peft_model(model, config)
    return adapted


def linear_layers(model: nn.Module) -> set[str]:
    """Last names of the layers that can have an adapter."""
    from transformers.pytorch_utils import Conv1D

    kinds = (nn.Linear, Conv1D)
    return {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, kinds)}
