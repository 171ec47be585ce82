"""Rules that change scores by what the catalogue says of an item, and by when a user had it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.errors import ConfigError
from deftrec.retrieval.rules.base import Rule


@dataclass(frozen=True, eq=False)
class Boost(Rule):
    """Adds the logarithm of a factor to the scores, which are logits: an item's probability is multiplied by it.

    Attributes:
        added: logarithm of each item's factor; 0: the item is left alone. `[I]` float32
        text: description of the rule, such as "boost x2: category Drama".
        done: description of the effect on an item, such as "boosted x2: category Drama".
    """

    added: Tensor
    text: str = ""
    done: str = ""

    def apply(self, scores: Tensor, histories: Sequences) -> None:
        """See `Rule.apply`."""
        scores += self.added.to(scores.device)

    def effect(self, item: int, place: int) -> str | None:
        """See `Rule.effect`."""
        return self.done if self.added[item] != 0 else None


@dataclass(frozen=True, eq=False)
class Freshness(Boost):
    """A `Boost` whose factor is halved with every half-life of an item's age."""

    def effect(self, item: int, place: int) -> str | None:
        """See `Rule.effect`."""
        return f"{self.done} x{self.added[item].exp().item():.2g}" if self.added[item] != 0 else None


@dataclass(frozen=True, eq=False)
class ExcludeRecent(Rule):
    """No item that the user interacted with in the last `days` before `newest` is recommended.

    Attributes:
        newest: time of the newest event of the data, in days since 1970; a user's own newest event counts if it is
            newer.
    """

    days: float
    newest: float
    text: str = ""

    @property
    def only_excludes(self) -> bool:
        """See `Rule.only_excludes`."""
        return True

    def apply(self, scores: Tensor, histories: Sequences) -> None:
        """See `Rule.apply`; a `ConfigError` if the histories have no times."""
        if histories.days is None:
            raise ConfigError(NO_TIMES.format(self.text))
        for row in range(len(histories)):
            days = histories.days[histories.offsets[row] : histories.offsets[row + 1]]
            recent = histories[row][days >= max(self.newest, days.max(initial=self.newest)) - self.days]
            scores[row, torch.from_numpy(recent).long().to(scores.device)] = float("-inf")


NO_TIMES = "{}: a plain history has no event times; give a user of the data, or exclude every item of the history"
