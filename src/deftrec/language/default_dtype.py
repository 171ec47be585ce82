"""Default dtype of torch, which all threads share, and which `transformers` changes while it builds a model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

LOCK = threading.RLock()
BUILDING = "local_torch_dtype"  # context manager of `transformers` that sets the default dtype and restores it


@contextmanager
def steady_default_dtype() -> Iterator[None]:
    """Keep `transformers` from building a model in another thread inside the block; wait for one that it builds.

    Otherwise a tensor made in the block could have the dtype of that model. Only the building of modules is kept out
    (0.04 s for 135M parameters), not the reading of their weights.
    """
    with LOCK:
        yield


def guard_default_dtype() -> None:
    """Let `transformers` change the default dtype in one thread at a time, and in none while it is to be steady."""
    from transformers import modeling_utils  # a slow import, only where needed

    plain = getattr(modeling_utils, BUILDING, None)
    if plain is None or hasattr(plain, "guarded"):
        return

    @contextmanager
    def guarded(dtype: torch.dtype, model_class_name: str | None = None) -> Iterator[None]:
        with LOCK, plain(dtype, model_class_name):
            yield

    guarded.guarded = True  # type: ignore[attr-defined]
    setattr(modeling_utils, BUILDING, guarded)
