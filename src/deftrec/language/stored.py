"""State dictionaries without the frozen weights of pre-trained models, which their own files hold."""

from torch import Tensor, nn

from deftrec.language.base import LanguageModel


def stored_state(module: nn.Module) -> dict[str, Tensor]:
    """Tensors of `module.state_dict()` that no pre-trained model's files hold."""
    elsewhere = _in_files(module)
    return {name: tensor for name, tensor in module.state_dict().items() if name not in elsewhere}


def load_stored_state(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load the tensors of `stored_state` into `module`.

    Raises a `ValueError` if a tensor is missing or unknown, and a `RuntimeError` if a tensor has another shape.
    """
    result = module.load_state_dict(tensors, strict=False)
    odd = sorted(set(result.missing_keys) - _in_files(module)) or sorted(result.unexpected_keys)
    if odd:
        raise ValueError(f"weight {odd[0]!r}")


def _in_files(module: nn.Module) -> set[str]:
    """Names of frozen weights; the constants of 4-bit weights have names that begin with the weight's."""
    frozen = {
        f"{path}.{name}" if path else name
        for path, inner in module.named_modules()
        if isinstance(inner, LanguageModel)
        for name, parameter in inner.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad
    }
    return {
        name for name in module.state_dict() if name in frozen or name.partition(".weight.")[0] + ".weight" in frozen
    }
