"""Semantic ids: codes of every item by residual k-means of its features, and the prefix tree of the codes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deftrec.errors import ConfigError

LLOYD_STEPS = 25


def semantic_ids(features: Tensor, levels: int, size: int) -> Tensor:
    """Codes of items: each level is the nearest k-means centre of the residual of the levels before it.

    A last code distinguishes items whose other codes are equal (TIGER, Rajput et al. 2023, section 3.1). k-means
    replaces TIGER's RQ-VAE and needs no training. Deterministic.

    Args:
        features: `[I, F]`
        levels: number of levels before the last code.
        size: number of codes per level.

    Returns:
        `[I, levels + 1]` int64, no two rows equal.

    Raises:
        ConfigError: more than `size` items have the same codes.
    """
    residual = features.detach().float().cpu()
    columns = []
    for level in range(levels):
        centres = kmeans(residual, size, torch.Generator().manual_seed(level))
        codes = _nearest(residual, centres)
        residual = residual - centres[codes]
        columns.append(codes)
    _, group = torch.unique(torch.stack(columns, 1), dim=0, return_inverse=True)
    order = torch.argsort(group, stable=True)
    counts = torch.bincount(group)
    last = torch.empty_like(group)
    last[order] = torch.arange(len(group)) - (counts.cumsum(0) - counts)[group[order]]
    if int(counts.max()) > size:
        raise ConfigError(f"{int(counts.max())} items have the same semantic id: raise size to that or more")
    return torch.stack([*columns, last], 1).to(features.device)


def kmeans(points: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Centres by Lloyd's algorithm with k-means++ initialisation (Arthur and Vassilvitskii 2007). `[size, F]`"""
    centres = torch.empty(size, points.shape[1])
    far = torch.ones(len(points))
    for n in range(size):
        centres[n] = points[torch.multinomial(far + 1e-12, 1, generator=generator)[0]]
        distance = (points - centres[n]).square().sum(1)
        far = distance if n == 0 else torch.minimum(far, distance)
    for _ in range(LLOYD_STEPS):
        nearest = _nearest(points, centres)
        counts = torch.bincount(nearest, minlength=len(centres))
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        centres = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp_min(1), centres)
    return centres


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Index of the nearest centre. `[I]` int64"""
    return torch.cat([torch.cdist(part, centres).argmin(1) for part in torch.split(points, 8192)])


@dataclass(frozen=True, eq=False)
class CodeTree:
    """Prefix tree of the codes, which constrains the beam search.

    Attributes:
        codes: for each level, the codes that follow a node, padded with -1. Each `[nodes, most children]` int64
        children: for each level, the nodes that these codes lead to; items at the last level.
    """

    codes: list[Tensor]
    children: list[Tensor]

    @classmethod
    def of(cls, codes: Tensor) -> "CodeTree":
        """The tree of `codes` `[I, L]`, no two rows equal."""
        size = int(codes.max()) + 1
        tree = cls([], [])
        node = torch.zeros(len(codes), dtype=torch.int64, device=codes.device)  # at the root
        for level in range(codes.shape[1]):
            paths, following = torch.unique(node * size + codes[:, level], return_inverse=True)
            parents = paths // size
            counts = torch.bincount(parents)
            place = torch.arange(len(paths), device=codes.device) - (counts.cumsum(0) - counts)[parents]
            empty = torch.full((len(counts), int(counts.max())), -1, dtype=torch.int64, device=codes.device)
            tree.codes.append(empty.index_put((parents, place), paths % size))
            last = level + 1 == codes.shape[1]
            reached = following.argsort() if last else torch.arange(len(paths), device=codes.device)
            tree.children.append(empty.index_put((parents, place), reached))
            node = following
        return tree
