"""Train DeftRec with one of its parts replaced by a study's own, and compare it with the original.

A study subclasses `DeftRec`, overrides a factory method, and passes the class to `replaced` or `compare`.
"""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from deftrec import Config, Interactions, Recommender, ensemble, load_recipe
from deftrec.model import DeftRec


@contextmanager
def replaced(model: type[DeftRec]) -> Iterator[None]:
    """Inside the block, runs are trained and loaded with `model` in place of `DeftRec`."""
    with patch.object(ensemble, "DeftRec", model):
        yield


def compare(models: Mapping[str, type[DeftRec]], interactions: Interactions, config: Config) -> dict[str, float]:
    """Test NDCG@10 of each class on the same data with the same options, without the collaborative prior."""
    plain = config.model_copy(update={"retrieval": config.retrieval.model_copy(update={"prior": "none"})})
    values = {}
    for name, model in models.items():
        with replaced(model):
            values[name] = Recommender.fit(interactions, plain).evaluate("test", parts="latent").metrics["ndcg@10"]
        print(f"{name}: test NDCG@10 {values[name]:.4f}", flush=True)
    return values


def read_arguments(about: str) -> tuple[Interactions, Config]:
    """Data and options of a study's command line."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--data", type=Path, required=True, help="data directory")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    return Interactions.load(given.data), load_recipe(given.recipe, given.set)
