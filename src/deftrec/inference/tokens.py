"""Tokens of a history from precomputed projections, without matrix products for every position."""

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.model import DeftRec, ItemLatents
from deftrec.tokenizer.robust import Way


class HistoryTokens:
    """`DeftRec.tokens` for one history per row.

    A user's features are the mean of the items so far, and an encoder's first layers are linear: the projection of a
    mean is the mean of the projections. So items are projected once, and a position costs a running sum.

    Args:
        model: model in evaluation mode.
        catalogue: the model's encoded catalogue.
        dtype: type of the matrix products.

    Attributes:
        projected: items after the first layers of the user tokenizer, without bias; None without user tokens. `[I, P]`
    """

    def __init__(self, model: DeftRec, catalogue: ItemLatents, dtype: torch.dtype) -> None:
        self.ways, self.dtype = catalogue.ways.to(dtype), dtype
        self.users: list[Way] = []
        self.projected: Tensor | None = None
        if model.user_tokenizer is not None:
            ways = [cast(Way, way) for way in model.user_tokenizer.encoders]
            self.users = ways if dtype == torch.float32 else [deepcopy(way).to(dtype) for way in ways]
            first = torch.cat([layer.weight for way in ways for layer in (way.linear, way.expand)])
            self.projected = catalogue.features @ first.T

    def __call__(self, items: Tensor, sums: Tensor | None = None, count: int = 0) -> tuple[Tensor, Tensor | None]:
        """Tokens `[B, L, K, D]` of items `[B, L]` after `count` others, and `sums` after them.

        `sums` `[B, P]` are the sums of `projected` over the positions before; None: no positions, or no user tokens.
        """
        read = self.ways[items]
        if self.projected is None:
            return read, None
        totals = self.projected[items].cumsum(1)  # [B, L, P]
        if sums is not None:
            totals = totals + sums[:, None]
        counts = torch.arange(count + 1, count + items.shape[1] + 1, device=items.device)
        return read + self._users((totals / counts[:, None]).to(self.dtype)), totals[:, -1]

    def _users(self, means: Tensor) -> Tensor:
        """User tokens from projected means. `[B, L, P]` -> `[B, L, K, D]`"""
        sizes = [layer.out_features for way in self.users for layer in (way.linear, way.expand)]
        parts = iter(torch.split(means, sizes, -1))
        ways = []
        for way in self.users:
            linear, expanded = next(parts) + way.linear.bias, next(parts) + way.expand.bias
            ways.append(linear + way.contract(F.gelu(way.norm(expanded))))
        return torch.stack(ways, 2)
