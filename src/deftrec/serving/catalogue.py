"""Items and users of a run, looked up without the model."""

import difflib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from deftrec.data import Sequences as History
from deftrec.data.kinds import columns_of_events, ignored_kinds
from deftrec.data.sequences import DAY
from deftrec.data.words import item_categories
from deftrec.projection import Projection
from deftrec.recommender import Recommender

MAP_ITEMS = 3000  # largest number of items on the map


class Catalogue:
    """Items and users of a run, by item number and external id.

    Attributes:
        items, titles, kinds: External id, title and categories of every item, by number.
        numbers: Item numbers by external id.
        removed: Numbers of the items that are no longer recommended.
    """

    def __init__(self, recommender: Recommender) -> None:
        self.recommender, self.interactions = recommender, recommender.interactions
        self.numbers = self.interactions.number_of_item
        self.items = list(self.numbers)
        self.titles = [self.interactions.title(number) for number in range(len(self.items))]
        self.kinds = item_categories(self.interactions)
        self.removed = frozenset(recommender.removed.tolist())

    @cached_property
    def plane(self) -> Projection:
        """Projection of the map, fitted on the items of the training data, so that added items do not move others."""
        return Projection.of(self.recommender.catalogue.latents[: self.recommender.fitted_on.n_items].cpu())

    @cached_property
    def places(self) -> np.ndarray:
        """Position of every item on the map. `[I, 2]` float64"""
        return self.plane(self.recommender.catalogue.latents.cpu())

    def background(self) -> list[int]:
        """Numbers of the items on the map: the most popular ones that can be recommended."""
        ranked = self.recommender.popularity.argsort(descending=True, stable=True).tolist()
        return [number for number in ranked if number not in self.removed][:MAP_ITEMS]

    def own_history(self, user: str) -> list[str]:
        """History of a user in the run's data, oldest first; empty for an unknown user."""
        number = self.interactions.number_of_user.get(user)
        return [] if number is None else [self.items[item] for item in self.interactions.sequences[number]]

    def own_events(self, user: str) -> History:
        """A user's history in the run's data, as one sequence; it is empty for an unknown user."""
        number = self.interactions.number_of_user.get(user)
        sequences = self.interactions.sequences
        return sequences.select([] if number is None else [number]).as_one()

    def events(
        self,
        items: Sequence[int],
        seconds: Sequence[float | None],
        kinds: Sequence[str | None],
        values: Sequence[float | None],
    ) -> History:
        """Events by item number, time in seconds since 1970, kind and value, as one history; None: unknown.

        Events of a kind that is ignored are left out.
        """
        days = np.array([np.nan if one is None else one / DAY for one in seconds], np.float64)
        columns = columns_of_events(self.interactions, days, kinds, values)
        ignored = ignored_kinds(self.interactions.roles)
        read = np.array([kind not in ignored for kind in kinds], bool)
        return History.from_lists([np.array(items, np.int32)]).with_columns(**columns).where(read)

    def users(self, start: str, limit: int) -> list[tuple[str, int]]:
        """Users of the run's data whose id begins with `start`, with the length of their histories."""
        lengths = self.interactions.sequences.lengths
        found = (one for one in self.interactions.number_of_user.items() if one[0].startswith(start))
        return [(user, int(lengths[number])) for _, (user, number) in zip(range(limit), found, strict=False)]

    def search(self, words: str, limit: int) -> list[int]:
        """Present items whose title contains all the words in any case; titles that begin with them come first."""
        wanted = words.casefold().split()
        named = (number for number, title in enumerate(self.folded) if all(word in title for word in wanted))
        hits = [number for number in named if number not in self.removed]
        first, counts = " ".join(wanted), self.recommender.popularity.tolist()
        return sorted(hits, key=lambda hit: (not self.folded[hit].startswith(first), -counts[hit]))[:limit]

    def nearest(self, text: str) -> int | None:
        """Number of the item that `text` may stand for: by words of its title, else by a similar id or title.

        Similar ids and titles are looked for among the most popular items. None if nothing is similar.
        """
        if text.strip() and (hits := self.search(text, 1)):
            return hits[0]
        names: dict[str, int] = {}
        for number in self.background():
            names.setdefault(self.items[number].casefold(), number)
            names.setdefault(self.folded[number], number)
        near = difflib.get_close_matches(text.casefold(), names, n=1)
        return names[near[0]] if near else None

    @cached_property
    def folded(self) -> list[str]:
        """Titles with case folded, for the search."""
        return [title.casefold() for title in self.titles]
