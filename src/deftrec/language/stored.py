"""What of a module must be kept to have it again: all but the weights that a pre-trained model came with and keeps."""

from torch import Tensor, nn

from deftrec.language.base import LanguageModel


def stored_state(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of `module.state_dict()` that are in no pre-trained model's files."""
    elsewhere = _in_files(module)
    return {name: tensor for name, tensor in module.state_dict().items() if name not in elsewhere}


def load_stored_state(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put what `stored_state` gave into `module`.

    Raises:
        ValueError: a tensor is missing, or belongs to no such module.
        RuntimeError: a tensor has another shape.
    """
    result = module.load_state_dict(tensors, strict=False)
    odd = sorted(set(result.missing_keys) - _in_files(module)) or sorted(result.unexpected_keys)
    if odd:
        raise ValueError(f"weight {odd[0]!r}")


def _in_files(module: nn.Module) -> set[str]:
    """Names of what can be read again; weights of 4 bits have their constants beside them, under their own name."""
    frozen = {
        f"{path}.{name}" if path else name
        for path, inner in module.named_modules()
        if isinstance(inner, LanguageModel) and inner.in_files
        for name, parameter in inner.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad
    }
    return {
        name for name in module.state_dict() if name in frozen or name.partition(".weight.")[0] + ".weight" in frozen
    }
