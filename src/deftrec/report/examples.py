"""Examples from the test users: history, recommendations and next interaction."""

from dataclasses import dataclass

import numpy as np

from deftrec.data import Id, make_split
from deftrec.reasoning import sentence
from deftrec.recommendation import Recommendation
from deftrec.recommender import Recommender


@dataclass(frozen=True)
class Example:
    """One user before the held-out interaction.

    Attributes:
        user: external id.
        history, titles: ids and titles of the items before the target, oldest first.
        target, target_item: title and id of the item of the next interaction, which no model has seen.
        recommendations: recommended items, best first.
        place: rank of the target among them, from 1; None if it is not recommended.
        statement: sentence of the reasoner about the history; None without a reasoner.
    """

    user: Id
    history: list[Id]
    titles: list[str]
    target: str
    target_item: Id
    recommendations: list[Recommendation]
    place: int | None
    statement: str | None = None


def pick_examples(recommender: Recommender, n: int = 5, k: int = 10, seed: int = 0) -> list[Example]:
    """Draw `n` test users, or all if there are fewer, and recommend `k` items to each."""
    data = recommender.fitted_on
    cases = make_split(data, recommender.config.data.split).cases("test")
    drawn = np.random.default_rng(seed).permutation(len(cases))[:n]
    lists = recommender.recommend_many([data.item_ids(cases.histories[case]) for case in drawn], k=k)
    examples = []
    reasoning = recommender.run.reasoning
    for case, found in zip(drawn, lists, strict=True):
        numbers = [*cases.histories[case].tolist(), int(cases.targets[case])]
        *history, item = data.item_ids(numbers)
        *titles, target = map(data.title, numbers)
        place = next((one.rank for one in found if one.item == item), None)
        text = None if reasoning is None else reasoning.statement(cases.histories[case], wait=True)
        said = None if text is None else sentence(text)
        examples.append(Example(data.users[int(cases.users[case])], history, titles, target, item, found, place, said))
    return examples
