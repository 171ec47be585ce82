"""Users and items held out of every stage, and the cases that are evaluated on them afterwards."""

from dataclasses import dataclass

import numpy as np

from deftrec.data import Cases, Interactions, Sequences
from deftrec.errors import DataError
from studies.subset import subset

USERS_SHARE, ITEMS_SHARE = 0.1, 0.05
MOST = 20_000
"""Largest number of cases of one kind; more cases are sampled."""


@dataclass(frozen=True, eq=False)
class Questions:
    """Evaluated cases, in item numbers of the whole data.

    Attributes:
        seen_users: the last training item of every user of the training with three of them or more.
        unseen_users: the last training item of every held-out user with three of them or more.
        unseen_items: every interaction with a held-out item, by any user with a history that does not contain it. The
            training contains later interactions of seen users, never this one.
        seen_items: the last item of seen users whose last two items are training items, so that a model trained with
            all items has the same targets. The history contains held-out items too.
    """

    seen_users: Cases
    unseen_users: Cases
    unseen_items: Cases
    seen_items: Cases


@dataclass(frozen=True, eq=False)
class Holdout:
    """A dataset without some of its users and items.

    Attributes:
        whole: the whole data.
        users, items: whether each user and item is held out. `[U]`, `[I]` bool
        training: the data without both, for every stage.
        reference: the data without the users alone, for a training with all items.
        questions: evaluated cases.
    """

    whole: Interactions
    users: np.ndarray
    items: np.ndarray
    training: Interactions
    reference: Interactions
    questions: Questions


def hold_out(
    whole: Interactions, seed: int = 0, users_share: float = USERS_SHARE, items_share: float = ITEMS_SHARE
) -> Holdout:
    """Draw the users and items to hold out.

    All users, and all items with text, are equally likely. Items without text are never drawn: nothing distinguishes
    them for a model that has not seen them.

    Args:
        whole: the data.
        seed: seed of the draws.
        users_share: share of the users.
        items_share: share of the items.

    Raises:
        DataError: the data is too small, or no item has text.
    """
    rng = np.random.default_rng([seed, 5])
    with_text = np.array([any(row) for row in whole.catalogue.select("title", "category", "text").rows()])
    wanted = max(1, round(items_share * whole.n_items))
    if with_text.sum() <= wanted:
        raise DataError(
            f"{whole.meta.name}: {int(with_text.sum())} items have a title, category or text, too few to hold {wanted} "
            "out; give the items text ('deftrec data import --items FILE')"
        )
    users, items = np.zeros(whole.n_users, bool), np.zeros(whole.n_items, bool)
    users[rng.choice(whole.n_users, max(1, round(users_share * whole.n_users)), replace=False)] = True
    items[rng.choice(np.flatnonzero(with_text), wanted, replace=False)] = True
    questions = _questions(whole, users, items, rng)
    for name, cases in vars(questions).items():
        if not len(cases):
            raise DataError(f"{whole.meta.name}: too small for this protocol: no case of {name}")
    return Holdout(
        whole, users, items, subset(whole, ~users, ~items), subset(whole, ~users, np.ones_like(items)), questions
    )


def _questions(whole: Interactions, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> Questions:
    groups: dict[str, list[tuple[int, np.ndarray, int]]] = {name: [] for name in Questions.__dataclass_fields__}
    for user, sequence in enumerate(whole.sequences):
        held = items[sequence]
        trained = sequence[~held]
        if len(trained) >= 3:
            group = "unseen_users" if users[user] else "seen_users"
            groups[group].append((user, trained[:-1], int(trained[-1])))
            if not users[user] and not held[-2:].any():
                groups["seen_items"].append((user, sequence[:-1], int(sequence[-1])))
        for place in np.flatnonzero(held):
            if place and sequence[place] not in sequence[:place]:
                groups["unseen_items"].append((user, sequence[:place], int(sequence[place])))
    for name, asked in groups.items():
        if len(asked) > MOST:
            groups[name] = [asked[n] for n in np.sort(rng.choice(len(asked), MOST, replace=False))]
    return Questions(**{name: _cases(asked) for name, asked in groups.items()})


def _cases(asked: list[tuple[int, np.ndarray, int]]) -> Cases:
    users, histories, targets = zip(*asked, strict=True) if asked else ((), (), ())
    return Cases(np.array(users, np.int64), Sequences.from_lists(list(histories)), np.array(targets, np.int64))
