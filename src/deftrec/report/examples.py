"""Examples from the test users: history, recommendations and next interaction."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deftrec.data import Id, make_split
from deftrec.recommendation import Recommendation
from deftrec.recommender import Recommender


@dataclass(frozen=True)
class Example:
    """One user before the held-out interaction.

    Attributes:
        user: external id.
        history: items before the target, oldest first.
        titles: titles of the history.
        target: title of the item of the next interaction, which no model has seen.
        target_item: external id of that item.
        recommendations: recommended items, best first.
        place: rank of the target among them, from 1; None if it is not recommended.
    """

    user: Id
    history: list[Id]
    titles: list[str]
    target: str
    target_item: Id
    recommendations: list[Recommendation]
    place: int | None

    def to_json_dict(self) -> dict[str, Any]:
        """Convert to plain JSON values."""
        return asdict(self)


def pick_examples(recommender: Recommender, n: int = 5, k: int = 10, seed: int = 0) -> list[Example]:
    """Draw `n` test users, or all if there are fewer, and recommend `k` items to each."""
    interactions = recommender.fitted_on
    cases = make_split(interactions, recommender.config.data.split).cases("test")
    drawn = np.random.default_rng(seed).permutation(len(cases))[:n]
    histories = [interactions.item_ids(cases.histories[case]) for case in drawn]
    lists = recommender.recommend_many(histories, k=k)
    examples = []
    for case, history, recommendations in zip(drawn, histories, lists, strict=True):
        target = interactions.item_ids([cases.targets[case]])[0]
        examples.append(
            Example(
                user=interactions.users[int(cases.users[case])],
                history=history,
                titles=[interactions.title(int(number)) for number in cases.histories[case]],
                target=interactions.title(int(cases.targets[case])),
                target_item=target,
                recommendations=recommendations,
                place=next((one.rank for one in recommendations if one.item == target), None),
            )
        )
    return examples
