"""The tokens of a history without a product for every place of it."""

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.model import DeftRec, ItemLatents
from deftrec.tokenizer.robust import Way


class HistoryTokens:
    """What the language model reads at each place of a history: `DeftRec.tokens` for one history a row.

    A folded user is the mean of the features so far, and what a way does first is linear: the projections of a mean are
    the mean of the projections. So items are projected once, and a place costs a running sum.

    Args:
        model: in evaluation mode.
        catalogue: its own.
        dtype: of the products.

    Attributes:
        projected: what the user tokenizer's first layers make of each item, without bias; None without folded users.
            `[I, P]`
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
        """Tokens of the places that follow `count` others.

        Args:
            items: item numbers, at least 0. `[B, L]` int64
            sums: of `projected` over the places before; None: there are none. `[B, P]`
            count: of the places before.

        Returns:
            tokens `[B, L, K, D]`, and `sums` after the last place, None without folded users.
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
        """Tokens of users from their projected means. `[B, L, P]` -> `[B, L, K, D]`"""
        sizes = [layer.out_features for way in self.users for layer in (way.linear, way.expand)]
        parts = iter(torch.split(means, sizes, -1))
        ways = []
        for way in self.users:
            linear, expanded = next(parts) + way.linear.bias, next(parts) + way.expand.bias
            ways.append(linear + way.contract(F.gelu(way.norm(expanded))))
        return torch.stack(ways, 2)
