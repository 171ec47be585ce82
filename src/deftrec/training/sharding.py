"""Sharded weights: each process keeps a share of every tensor, of its gradient and of the optimiser's state for it.

FSDP (Zhao et al. 2023, arXiv 2304.11277) by torch's `fully_shard`: the blocks of a pre-trained model are gathered one
after the other as they run, everything else at once. No process holds all weights except while it validates.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TypeVar

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

M = TypeVar("M", bound=nn.Module)


def shard_module(module: nn.Module, size: int) -> None:
    """Shard the weights of `module` in place over the `size` processes, all of which call this.

    Its parameters are other objects afterwards, so create the optimiser after this call.
    """
    for parameter in module.parameters():
        if not parameter.ndim:
            parameter.data = parameter.data.view(1)  # a scalar cannot be sharded
    mesh = init_device_mesh(next(module.parameters()).device.type, (size,))
    for block in blocks(module):
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)


def blocks(module: nn.Module) -> list[nn.Module]:
    """Blocks of the pre-trained models within `module` that run one after the other."""
    names = {name for inner in module.modules() for name in getattr(inner, "_no_split_modules", None) or ()}
    rows = [inner for inner in module.modules() if isinstance(inner, nn.ModuleList)]
    return [block for row in rows for block in row if type(block).__name__ in names]


@contextmanager
def unsharded(module: nn.Module) -> Iterator[None]:
    """Inside the block every process holds all weights, which must not be changed there."""
    parts = [inner for inner in module.modules() if isinstance(inner, FSDPModule)]
    for part in parts:
        part.unshard()
        part.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(part is not module, recurse=False)
            part.reshard()


def gather(tensor: Tensor) -> Tensor:
    """The whole tensor, gathered by all processes where it is sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, sharded as `like` is."""
    if like.numel() == 1:
        tensor = tensor.view(like.shape)
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def without_weights(module: M) -> M:
    """A copy of `module` without memory for its weights, for `refilled`."""
    empty = {}
    for parameter in module.parameters():
        blank = parameter.new_empty(()).expand(parameter.shape)
        empty[id(parameter)] = nn.Parameter(blank, parameter.requires_grad)
    return deepcopy(module, empty)


def refilled(empty: M, module: M) -> M:
    """`empty`, made by `without_weights` before `module` was sharded, with the gathered weights of `module`."""
    for name, parameter in module.named_parameters():
        blank = empty.get_parameter(name)
        blank.data = gather(parameter.detach()).view(blank.shape)
    for name, buffer in module.named_buffers():
        empty.get_buffer(name).copy_(buffer)
    return empty
