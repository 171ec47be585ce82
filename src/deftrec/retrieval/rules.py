"""Rules: which items may be recommended, applied to the scores after the terms."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.retrieval.exact import history_cells


class Rule(ABC):
    """Excludes items from the lists (score `-inf`) or puts them last."""

    @abstractmethod
    def apply(self, scores: Tensor, histories: Sequences) -> None:
        """Change the scores `[N, I]` of N queries in place, given the queries' histories."""


@dataclass(frozen=True)
class ExcludeHistory(Rule):
    """No item of the query's own history is recommended."""

    def apply(self, scores: Tensor, histories: Sequences) -> None:
        """See `Rule.apply`."""
        scores[history_cells(scores, histories)] = float("-inf")


LAST = -10_000.0  # difference of logits larger than that of the scores of any two items


@dataclass(frozen=True)
class HistoryLast(Rule):
    """Items of the query's own history are recommended after all other items."""

    def apply(self, scores: Tensor, histories: Sequences) -> None:
        """See `Rule.apply`."""
        cells = history_cells(scores, histories)
        scores[cells] = scores[cells] + LAST


@dataclass(frozen=True, eq=False)
class Deny(Rule):
    """None of `items` (item numbers, `[n]` int64) is recommended."""

    items: Tensor

    def apply(self, scores: Tensor, histories: Sequences) -> None:
        """See `Rule.apply`."""
        scores[:, self.items.to(scores.device)] = float("-inf")


@dataclass(frozen=True, eq=False)
class Allow(Rule):
    """Only `items` (item numbers, `[n]` int64) are recommended: a list of the caller, or the items of a category."""

    items: Tensor

    def apply(self, scores: Tensor, histories: Sequences) -> None:
        """See `Rule.apply`."""
        excluded = torch.ones(scores.shape[1], dtype=torch.bool, device=scores.device)
        excluded[self.items.to(scores.device)] = False
        scores.masked_fill_(excluded, float("-inf"))


def seen_rules(excluded: bool) -> tuple[Rule, ...]:
    """The rule for items of the history, if they are to be `excluded`."""
    return (ExcludeHistory(),) if excluded else ()


def request_rules(
    allowed: Iterable[np.ndarray | Tensor | None], denied: np.ndarray, exclude_seen: bool
) -> tuple[Rule, ...]:
    """Rules of a request: items that are in every one of `allowed` (None: all items) and not in `denied`, by number."""
    lists = [Allow(torch.as_tensor(items)) for items in allowed if items is not None]
    return (*lists, Deny(torch.from_numpy(denied)), *seen_rules(exclude_seen))
