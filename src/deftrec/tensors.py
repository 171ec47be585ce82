"""Tensors in safetensors files, and dataclasses of tensors on a device."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from deftrec.errors import DeftRecError
from deftrec.files import atomic_path

P = TypeVar("P")


def to_device(parts: P, device: torch.device) -> P:
    """A tensor, or a dataclass of tensors, of further such dataclasses and of None, on `device`."""
    moved: Any = parts
    if isinstance(moved, Tensor):
        moved = moved.to(device)
    elif moved is not None:
        moved = replace(moved, **{field.name: to_device(getattr(moved, field.name), device) for field in fields(moved)})
    return moved  # type: ignore[no-any-return]


def joined(parts: Sequence[P]) -> P:
    """Dataclasses of tensors, one or more, with each tensor followed by those of the next."""
    names = [field.name for field in fields(parts[0])]  # type: ignore[arg-type]
    return replace(parts[0], **{name: torch.cat([getattr(part, name) for part in parts]) for name in names})  # type: ignore[type-var]


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
