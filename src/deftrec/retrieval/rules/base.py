"""What a rule is, and the rules of items by number: those of the history, allowed and denied ones."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.retrieval.exact import history_cells


class Rule(ABC):
    """Changes scores: excludes items (score `-inf`), raises or lowers them.

    Attributes:
        text: description for people, such as "deny: category Horror"; empty for a rule that explanations leave out.
    """

    text: str = ""

    @property
    def only_excludes(self) -> bool:
        """Whether scores of items that are not excluded stay as they are (default: no)."""
        return False

    @abstractmethod
    def apply(self, scores: Tensor, histories: Sequences) -> None:
        """Change the scores `[N, I]` of N queries in place, given the queries' histories."""

    def effect(self, item: int, place: int) -> str | None:
        """What the rule did to an item (by number) that stands at `place` (from 0) of a list; None: nothing."""
        return None


@dataclass(frozen=True)
class ExcludeHistory(Rule):
    """No item of the query's own history is recommended."""

    @property
    def only_excludes(self) -> bool:
        """See `Rule.only_excludes`."""
        return True

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
    text: str = ""

    @property
    def only_excludes(self) -> bool:
        """See `Rule.only_excludes`."""
        return True

    def apply(self, scores: Tensor, histories: Sequences) -> None:
        """See `Rule.apply`."""
        scores[:, self.items.to(scores.device)] = float("-inf")


@dataclass(frozen=True, eq=False)
class Allow(Rule):
    """Only `items` (item numbers, `[n]` int64) are recommended: a list of the caller, or the items of a category."""

    items: Tensor
    text: str = ""

    @property
    def only_excludes(self) -> bool:
        """See `Rule.only_excludes`."""
        return True

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
