"""Tensors in safetensors files, and dataclasses of tensors on a device."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from deftrec.errors import DeftRecError, first_line
from deftrec.files import atomic_path

P = TypeVar("P")

ABOUT = "about"  # tensor of a sealed file with its JSON


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
    """Read what `save_tensors` wrote; a `DeftRecError` if the file is missing or damaged, or a value is not finite."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
        check_finite(tensors)
    except (OSError, SafetensorError, ValueError) as error:
        raise DeftRecError(f"{path}: missing or damaged ({error}); train the run again") from error
    return tensors


def check_finite(tensors: dict[str, Tensor]) -> None:
    """Raise a `ValueError` that names the first tensor with a NaN or an infinity."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        values = tensor if tensor.element_size() > 1 else tensor.half()  # 8 bits have no order
        if not torch.stack(values.aminmax()).isfinite().all():
            raise ValueError(f"{name!r} holds a value that is not a finite number")


def save_sealed(path: Path, about: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write tensors with `about`, which JSON holds, and a checksum of both, for a file that is replaced as a whole."""
    text = json.dumps(about)
    sealed = json.dumps({"about": about, "sha256": _digest(text, tensors)})
    save_tensors(path, {**tensors, ABOUT: torch.frombuffer(bytearray(sealed.encode()), dtype=torch.uint8)})


def load_sealed(path: Path, mend: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `save_sealed` wrote: `about`, and the tensors.

    Raises a `DeftRecError` with `mend` if the file cannot be read, its checksum differs, or a value is not finite.
    """
    try:
        # Opened once: safetensors' own reader opens the path twice, and between the two it may be replaced.
        tensors: dict[str, Tensor] = load(path.read_bytes())
        sealed = json.loads(tensors.pop(ABOUT).numpy().tobytes())
        about, digest = sealed["about"], sealed["sha256"]
        if digest != _digest(json.dumps(about), tensors):
            raise ValueError("its SHA-256 differs")
        check_finite(tensors)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise DeftRecError(f"{path}: damaged ({first_line(error)}); {mend}") from error
    return about, tensors


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 over a text and named tensors with their types and shapes."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {[*tensor.shape]}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
