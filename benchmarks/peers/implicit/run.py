"""Matrix factorisation by `implicit`: ALS and BPR. The contract is in ../README.md.

    python run.py --inputs DIR --outputs DIR --model als

ALS solves for the factors of each history to rank for (`recalculate_user`). BPR cannot: it uses the factors of the fit,
and a user without factors gets the most popular items.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

import implicit
import numpy as np
import polars as pl
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_matrix

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from exchange import Cases, Inputs
from tuning import Fitted, Settings, Stopping, Train, run

MODELS = ("als", "bpr")
ALS_SWEEPS = 15
BPR_EPOCHS = 300
BPR_EPOCHS_BETWEEN_VALIDATIONS = 10
PATIENCE = 5


def settings(name: str, inputs: Inputs) -> Iterator[Settings]:
    """Those to try, the usual ones first."""
    if name == "als":
        for factors, alpha, regularization in product((64, 128, 256, 32), (10.0, 40.0, 1.0), (10.0, 1.0, 30.0)):
            yield {"factors": factors, "alpha": alpha, "regularization": regularization}
    else:
        for factors, rate, regularization in product((64, 128), (0.05, 0.01), (0.01, 0.001, 0.03)):
            yield {"factors": factors, "learning_rate": rate, "regularization": regularization}


def interaction_matrix(events: pl.DataFrame, inputs: Inputs) -> csr_matrix:
    """Binary matrix of interactions. `[users, items]`"""
    places = events["user"].to_numpy(), events["item"].to_numpy()
    return csr_matrix((np.ones(events.height, np.float32), places), shape=(inputs.users, inputs.items)).sign()


def histories(cases: Cases, n_items: int) -> csr_matrix:
    """`[n, items]`"""
    places = cases.owners(), cases.items
    return csr_matrix((np.ones(len(cases.items), np.float32), places), shape=(len(cases), n_items)).sign()


def train_als(settings: Settings, events: pl.DataFrame, inputs: Inputs) -> Fitted:
    model = AlternatingLeastSquares(
        **settings, iterations=ALS_SWEEPS, num_threads=inputs.threads, random_state=inputs.seed
    )
    model.fit(interaction_matrix(events, inputs), show_progress=False)

    def score(cases: Cases) -> np.ndarray:
        users = model.recalculate_user(np.arange(len(cases)), histories(cases, inputs.items))
        return users @ model.item_factors.T

    return Fitted(score, model.item_factors.size)


class Stopped(Exception):  # noqa: N818 - ends a training, and nothing is wrong
    """Leaves `fit` from its callback, the only way out before its last epoch."""


def train_bpr(settings: Settings, events: pl.DataFrame, stopping: Stopping, inputs: Inputs) -> Fitted:
    model = BayesianPersonalizedRanking(
        **settings, iterations=BPR_EPOCHS, num_threads=inputs.threads, random_state=inputs.seed
    )
    known = np.zeros(inputs.users, bool)
    known[events["user"].to_numpy()] = True
    popularity = np.bincount(events["item"].to_numpy(), minlength=inputs.items).astype(np.float32)

    def score(cases: Cases) -> np.ndarray:
        scores = model.user_factors[cases.users] @ model.item_factors.T
        scores[~known[cases.users]] = popularity
        return scores

    def state() -> tuple[np.ndarray, np.ndarray]:
        return model.user_factors.copy(), model.item_factors.copy()

    def after_epoch(epoch: int, *_: object) -> None:
        due = (epoch + 1) % BPR_EPOCHS_BETWEEN_VALIDATIONS == 0 or epoch + 1 == BPR_EPOCHS
        if (due or stopping.within(epoch + 1)) and stopping.after(epoch + 1, score, state):
            raise Stopped

    with suppress(Stopped):
        model.fit(interaction_matrix(events, inputs), show_progress=False, callback=after_epoch)
    model.user_factors, model.item_factors = stopping.best_state
    return Fitted(score, model.user_factors.size + model.item_factors.size)


def trainer(name: str, inputs: Inputs) -> Train:
    def train(settings: Settings, events: pl.DataFrame, stopping: Stopping) -> Fitted:
        return train_als(settings, events, inputs) if name == "als" else train_bpr(settings, events, stopping, inputs)

    return train


if __name__ == "__main__":
    run(__doc__, MODELS, settings, trainer, f"implicit {implicit.__version__}", PATIENCE)
