"""Named tensors in safetensors files."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from deftrec.errors import DeftRecError
from deftrec.files import atomic_path


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write named tensors atomically; tensors that share memory are written apart."""
    with atomic_path(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, temporary)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `save_tensors` wrote; a `DeftRecError` if the file is missing or damaged."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DeftRecError(f"{path}: missing or damaged ({error}); train the run again") from error
    return tensors
