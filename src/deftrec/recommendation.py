"""What a recommender answers: an item under an id and a title of the user's own, and why."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from deftrec.data import Id

Source: TypeAlias = Literal["deftrec", "popularity"]


@dataclass(frozen=True)
class Mover:
    """An item of the history that moved a recommendation.

    Attributes:
        item: external id.
        title: its title, or its id where it has none.
        change: of the recommended item's log share of the whole catalogue's score, by this item's being there.
    """

    item: Id
    title: str
    change: float


@dataclass(frozen=True)
class Explanation:
    """Why an item was recommended.

    Attributes:
        text: the preference that the history shows, in the model's words; None where it has learnt none.
        movers: the items of the history that moved this recommendation most, by leaving each out; best first.
        shares: of `latent`, `text`, `prior` and `trend` in what lifts the item above the catalogue's average, from 0 to
            1; an item that came after training is explained without its exposure.
    """

    text: str | None
    movers: tuple[Mover, ...]
    shares: dict[str, float]


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        item: external id.
        title: its title, or its id where it has none.
        score: comparable within one list only.
        rank: from 1.
        source: `deftrec`, or `popularity` for somebody without any history.
        explanation: where one was asked for and there is a history.
    """

    item: Id
    title: str
    score: float
    rank: int
    source: Source = "deftrec"
    explanation: Explanation | None = None
