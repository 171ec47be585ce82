"""Rules that restrict which items a request may be answered with: allow list, deny list, category, removed items."""

import numpy as np
import torch
from torch import Tensor

from deftrec.serving.catalogue import Catalogue

NO_ITEMS = np.zeros(0, np.int64)


def allowed_items(catalogue: Catalogue, allow: np.ndarray | None, deny: np.ndarray, category: str | None) -> Tensor:
    """Items that a request may be answered with.

    Args:
        catalogue: Items of the run, their categories and the removed ones.
        allow: Numbers of the only permitted items; None permits all. `[n]` int64
        deny: Numbers of forbidden items. `[n]` int64
        category: Category that every item must have; None permits all. An unknown category permits no item.

    Returns:
        Mask over item numbers. `[I]` bool
    """
    mask = torch.ones(len(catalogue.items), dtype=torch.bool)
    for numbers in (allow, None if category is None else catalogue.categories.get(category, NO_ITEMS)):
        if numbers is not None:
            only = torch.zeros_like(mask)
            only[torch.from_numpy(numbers)] = True
            mask &= only
    mask[torch.from_numpy(deny)] = False
    mask[list(catalogue.removed)] = False
    return mask


def named_items(catalogue: Catalogue, allow: np.ndarray | None, category: str | None) -> np.ndarray | None:
    """Numbers of the items that a request names by an allow list or a category; None if it names none. `[n]` int64."""
    if allow is not None:
        return allow
    return None if category is None else catalogue.categories.get(category, NO_ITEMS)
