"""What several routes check of the ids they are given."""

from collections.abc import Sequence

import numpy as np

from deftrec.serving.engine import InferenceEngine
from deftrec.serving.problems import ProblemError
from deftrec.serving.schemas import Model
from deftrec.serving.service import numbers_of


def known_items(engine: InferenceEngine, items: Sequence[str], name: str, limit: int) -> np.ndarray:
    """Numbers of items that a client names. `[n]` int64

    Raises:
        ProblemError: 422 with the index, where there are too many or one is unknown.
    """
    if len(items) > limit:
        raise ProblemError(422, "too_many_items", f"{name} holds {limit:,} items at most", index=limit)
    for index, item in enumerate(items):
        if item not in engine.numbers:
            raise ProblemError(422, "unknown_item", f"{name}: this item is not in the run's catalogue", index=index)
    return numbers_of(engine, items)


def known_item(engine: InferenceEngine, item: str) -> int:
    """The number of an item of the path.

    Raises:
        ProblemError: 404, unknown.
    """
    if item not in engine.numbers:
        raise ProblemError(404, "unknown_item", "this item is not in the run's catalogue; /v1/items?q= searches titles")
    return engine.numbers[item]


def model_of(engine: InferenceEngine) -> Model:
    """The run that answers."""
    return Model(run=engine.name, version=engine.version)
