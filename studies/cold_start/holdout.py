"""Users and items kept from every stage, and the questions that are asked of them afterwards."""

from dataclasses import dataclass

import numpy as np
from studies.subset import subset

from deftrec.data import Cases, Interactions, Sequences
from deftrec.errors import DataError

USERS_SHARE, ITEMS_SHARE = 0.1, 0.05
MOST = 20_000
"""Questions of one kind: past it a sample is asked, whose error no bar notices."""


@dataclass(frozen=True, eq=False)
class Questions:
    """What is asked, in item numbers of the whole.

    Attributes:
        seen_users: the last item of everybody who was trained on, among the items that were.
        unseen_users: the same of those who were held out. Nobody has fewer than three such items, in either group.
        unseen_items: every interaction with an item that was held out, by anybody who had taken something before, and
            not yet this. The training knows what seen users took later, never that they took this.
        seen_items: the last item of those seen users whose last two are items that were trained on, so that whoever
            was trained with all items has the same targets. The history holds what was held out too.
    """

    seen_users: Cases
    unseen_users: Cases
    unseen_items: Cases
    seen_items: Cases


@dataclass(frozen=True, eq=False)
class Holdout:
    """A dataset without some of its users and items.

    Attributes:
        whole: everything.
        users, items: who and what was held out. `[U]`, `[I]` bool
        training: without both, for every stage.
        reference: without the users alone, for a training that knows all items.
        questions: asked of both.
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
    """Draw who and what is held out.

    Items without words are never drawn: nothing tells them from one another. Those that are draw no attention to
    themselves either: every item is as likely, the popular ones and the tail.

    Args:
        whole: the data.
        seed: of the draws.
        users_share: of all users.
        items_share: of all items.

    Raises:
        DataError: the data is too small, or no item has words.
    """
    rng = np.random.default_rng([seed, 5])
    worded = np.array([any(row) for row in whole.catalogue.select("title", "category", "text").rows()])
    wanted = max(1, round(items_share * whole.n_items))
    if worded.sum() <= wanted:
        raise DataError(
            f"{whole.meta.name}: {int(worded.sum())} items have a title, category or text, too few to hold {wanted} "
            "out; give the items words ('deftrec data import --items FILE')"
        )
    users, items = np.zeros(whole.n_users, bool), np.zeros(whole.n_items, bool)
    users[rng.choice(whole.n_users, max(1, round(users_share * whole.n_users)), replace=False)] = True
    items[rng.choice(np.flatnonzero(worded), wanted, replace=False)] = True
    questions = _questions(whole, users, items, rng)
    for name, cases in vars(questions).items():
        if not len(cases):
            raise DataError(f"{whole.meta.name}: too small for this protocol: nothing to ask about {name}")
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
