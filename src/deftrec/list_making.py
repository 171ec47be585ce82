"""Lists of recommendations: a request is read into rules, words and a re-ranker, then answered for every history."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias, TypedDict

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import normalize

from deftrec.arguments import check_k, check_seed, true_or_false
from deftrec.data import PADDING, Id, Sequences
from deftrec.data.sequences import NEGATIVE
from deftrec.errors import ConfigError
from deftrec.evaluation import ranking_frame
from deftrec.explanation import reasons
from deftrec.loaded import LoadedRun
from deftrec.reasoning import sentence
from deftrec.recommendation import Explanation, HeldBack, Influence, Recommendation, Recommendations, Source
from deftrec.requests import ReadRequest
from deftrec.rerankers import RerankerName
from deftrec.retrieval import (
    Deny,
    Found,
    Queries,
    RequestTerm,
    Reranker,
    Rule,
    RuleOptions,
    build_rules,
    generate_texts,
    list_notes,
    make_lists,
    parse_rules,
    request_rules,
    rule_effects,
    top,
)

USERS_AT_ONCE = 4096
INFLUENCES = 3  # number of history items that an explanation names

Rules: TypeAlias = Sequence[RuleOptions | Mapping[str, Any]]
"""Business rules, as `deftrec.retrieval.read_rules` reads them, or as mappings of one key each."""


class ListOptions(TypedDict, total=False):
    """Options of a list, with the meaning and defaults of `Recommender.recommend`."""

    exclude_seen: bool
    allow: Sequence[Id] | None
    deny: Sequence[Id]
    category: str | None
    request: str | ReadRequest | None
    guidance: float
    rerank: RerankerName | Reranker
    strength: float | None
    rules: Rules
    offset: int
    seed: int | None
    at: datetime | float | None


@dataclass(frozen=True, eq=False)
class ListRequest:
    """A request for lists, read for one catalogue.

    Attributes:
        page: places of the list, from 0.
        rules: rules of the request, those of its words included.
        wish: words of the request, read; None without any.
        reranker: re-ranker; None: that of the ranker, if any.
        seed: seed of the sampling noise; None: `config.seed`.
        day: time of the request in days since 1970; None: unknown.
    """

    page: slice
    rules: tuple[Rule, ...] = ()
    wish: ReadRequest | None = None
    reranker: Reranker | None = None
    seed: int | None = None
    day: float | None = None

    def with_words(self, queries: Queries) -> Queries:
        """The queries, each with the words of this request."""
        return queries if self.wish is None else queries.with_requests([self.wish.encoded] * len(queries))


class ListMaker:
    """Makes lists for histories of item numbers; `loaded` has data, model and score."""

    def __init__(self, loaded: LoadedRun) -> None:
        self.loaded, self.interactions, self.ranker = loaded, loaded.interactions, loaded.ranker

    def read(
        self,
        k: int,
        *,
        timed: bool,
        exclude_seen: bool = True,
        allow: Sequence[Id] | None = None,
        deny: Sequence[Id] = (),
        category: str | None = None,
        request: str | ReadRequest | None = None,
        guidance: float = 1.0,
        rerank: RerankerName | Reranker = "none",
        strength: float | None = None,
        rules: Rules = (),
        offset: int = 0,
        seed: int | None = None,
        at: datetime | float | None = None,
    ) -> ListRequest:
        """Read a request for lists of `k` items; options and errors as for `Recommender.recommend`.

        `timed` says whether the histories have event times, as those of users of the data do.
        """
        k, offset = check_k(k, offset)
        exclude_seen, seed = true_or_false(exclude_seen, "exclude_seen"), check_seed(seed)
        allowed = None if allow is None else self.interactions.item_numbers(allow)
        members = None if category is None else self.loaded.items_of(category)
        chosen = request_rules(
            [allowed, members], self.interactions.item_numbers(() if deny is None else deny), exclude_seen
        )
        built = build_rules(parse_rules(rules), self.loaded.columns, timed=timed)
        wish = request if isinstance(request, ReadRequest | None) else self.loaded.requests.read(request, guidance)
        every = (*chosen, *built, *(() if wish is None else wish.rules))
        reranker, day = self._reranker(rerank, strength), self.loaded.day_of(at)
        return ListRequest(slice(offset, offset + k), every, wish, reranker, seed, day)

    def _reranker(self, rerank: RerankerName | Reranker, strength: float | None) -> Reranker | None:
        if not isinstance(rerank, Reranker):
            return self.loaded.rerankers.make(rerank, strength)
        if strength is not None:
            raise ConfigError("this re-ranker has its strength; leave out strength")
        return rerank

    # -- lists -------------------------------------------------------------------------------------------------

    def one(self, history: Sequences, asked: ListRequest, *, explain: bool = False) -> Recommendations:
        """The list of one history."""
        items = history[0].astype(np.int64)
        if not len(items):
            return self.most_popular(asked, explain=explain)
        history = history.asked_at(asked.day)
        scores = self.ranker.scores(asked.with_words(self.loaded.queries(history, asked.seed)))
        found = self.listed(scores, history, self._with_own_rules(asked), explain=explain)
        return self.explained(found, history, asked) if explain and found else found

    def several(self, histories: Sequences, asked: ListRequest) -> list[Recommendations]:
        """The lists of several histories, generated together."""
        lists = [Recommendations()] * len(histories)
        known = np.flatnonzero(histories.lengths > 0)
        if len(known):
            given = histories.select(known).asked_at(asked.day)
            queries = asked.with_words(self.loaded.queries(given, asked.seed))
            found = self.ranker.search(queries, asked.page.stop, asked.rules, asked.reranker)
            rules = self._with_own_rules(asked).rules
            for n, one, items in zip(known, self.describe(found), found.items.tolist(), strict=True):
                lists[n] = Recommendations(one[asked.page], _notes(items, asked.page.stop, rules))
        if len(known) < len(histories):
            popular = self.most_popular(asked)
            for n in np.flatnonzero(histories.lengths == 0):
                lists[n] = popular
        return lists

    def continued(self, history: np.ndarray, asked: ListRequest) -> Recommendations:
        """Items that continue a history one by one, each listed once; `asked` has their number."""
        items, found = history, list[Recommendation]()
        while len(found) < asked.page.stop:
            listed = Deny(torch.from_numpy(items[len(history) :]))
            one = replace(asked, page=slice(0, 1), rules=(*asked.rules, listed))
            [best] = self.several(Sequences.from_lists([items]), one)
            if not best:
                break
            found.append(replace(best[0], rank=len(found) + 1))
            items = np.append(items, self.interactions.item_numbers([best[0].item]))
        return Recommendations(found)

    def similar(self, items: np.ndarray, k: int) -> list[Recommendations]:
        """The `k` items with the largest cosine of latents for each of `items`, without the item itself."""
        unit, lists = normalize(self.loaded.catalogue.latents, dim=-1), list[Recommendations]()
        for item in items.tolist():
            scores = unit @ unit[item]
            scores[item] = float("-inf")
            scores[self.loaded.removed] = float("-inf")
            lists += map(Recommendations, self.describe(top(scores[None], k)))
        return lists

    def scores(self, histories: Sequences, items: np.ndarray, seed: int | None = None) -> np.ndarray:
        """Scores of `items` `[n]` before any rule; after an empty history their training interactions. `[N, n]`"""
        found = np.tile(self.loaded.popularity[items].float().numpy(), (len(histories), 1))
        known = np.flatnonzero(histories.lengths > 0)
        if len(known):
            queries = self.loaded.queries(histories.select(known), check_seed(seed))
            chunks = replace(self.ranker, rules=()).chunks(queries)
            found[known] = torch.cat([scores[:, items].cpu() for _, scores in chunks]).numpy()
        return found

    def frame(self, users: np.ndarray, asked: ListRequest) -> pl.DataFrame:
        """The frames of `frames` with titles, as one."""
        empty = ranking_frame(self.interactions, [], np.zeros((0, 0), np.int64), np.zeros((0, 0)))
        empty = empty.with_columns(title=pl.lit("", pl.String))
        return pl.concat([empty, *self.frames(users, asked, titles=True)])

    def frames(
        self, users: np.ndarray, asked: ListRequest, *, titles: bool = False, wait: bool | None = None
    ) -> Iterator[pl.DataFrame]:
        """Lists of users (by number) in frames of columns `user, item, rank, score` and perhaps `title`.

        Memory does not grow with users. `wait` as for `LoadedRun.residuals`. Scores of re-ranked lists are null.
        """
        for start in range(0, len(users), USERS_AT_ONCE):
            some = users[start : start + USERS_AT_ONCE]
            queries = self.loaded.queries(self.loaded.histories(some).asked_at(asked.day), asked.seed, wait=wait)
            found = self.ranker.search(asked.with_words(queries), asked.page.stop, asked.rules, asked.reranker)
            items, scores = found.items.cpu().numpy(), found.scores.cpu().numpy()
            frame = ranking_frame(self.interactions, self.interactions.users.gather(some), items, scores)
            frame = frame.filter(pl.col("rank") > asked.page.start)
            if asked.reranker is not None:
                frame = frame.with_columns(score=pl.lit(None, pl.Float64))
            yield frame.with_columns(title=self._titles(frame["item"])) if titles else frame

    def _titles(self, items: pl.Series) -> pl.Series:
        """The title of each item, or its id without one."""
        numbers = self.interactions.item_numbers(items)
        title, known = self.interactions.catalogue["title"].gather(numbers), items.cast(pl.String)
        return title.zip_with(title != "", known)

    def most_popular(self, asked: ListRequest, *, explain: bool = False) -> Recommendations:
        """The items with most training interactions, for an empty history; they are not re-ranked.

        Rules that multiply a probability multiply the number of interactions, 0 counting as a half; words do too.
        """
        nobody, popularity = Sequences.from_lists([np.zeros(0, np.int32)]), self.loaded.popularity
        logits = popularity.double().clamp_min(0.5).log()[None]
        term = self.ranker.term_of(RequestTerm)
        if asked.wish is not None and term is not None:
            logits = logits + term.of_request(asked.wish.encoded).double().cpu()
        by_score = replace(self._with_own_rules(asked), reranker=None)
        found = self.listed(logits, nobody, by_score, "popularity", explain=explain)
        numbers = self.interactions.item_numbers([one.item for one in found])
        counted = (replace(one, score=float(count)) for one, count in zip(found, popularity[numbers], strict=True))
        return Recommendations(counted, found.notes, found.held_back)

    def _with_own_rules(self, asked: ListRequest) -> ListRequest:
        """The request with the rules and the re-ranker that the ranker has for every request."""
        rules, reranker = (*self.ranker.rules, *asked.rules), asked.reranker or self.ranker.reranker
        return replace(asked, rules=rules, reranker=reranker)

    def listed(
        self,
        scores: Tensor,
        histories: Sequences,
        asked: ListRequest,
        source: Source = "deftrec",
        *,
        explain: bool = False,
    ) -> Recommendations:
        """One list from scores of all items `[1, I]`, which stay as they are, and one history.

        Only the rules and the re-ranker of `asked` are applied. `explain` adds what rules did to each item, and which
        items they held back.
        """
        page, rules, reranker = asked.page, asked.rules, asked.reranker
        found = make_lists(scores.clone(), histories, page.stop, rules, reranker)
        [items], [one] = found.items.tolist(), self.describe(found, source)
        ids, title, one = self.interactions.catalogue["item"], self.interactions.title, one[page]
        if not explain:
            return Recommendations(one, _notes(items, page.stop, rules))
        effects = rule_effects(scores, histories, page, rules, reranker)
        described = [replace(each, rules=done) for each, done in zip(one, effects.done.values(), strict=True)]
        held_back = (HeldBack(ids[item], title(item), why) for item, why in effects.held_back.items())
        return Recommendations(described, _notes(items, page.stop, rules), tuple(held_back))

    def describe(self, found: Found, source: Source = "deftrec") -> list[list[Recommendation]]:
        """Results under external ids and titles: one list for each row, without places that hold no item."""
        ids = self.interactions.catalogue["item"]
        return [
            [
                Recommendation(ids[item], self.interactions.title(item), score, rank, source)
                for rank, (item, score) in enumerate(zip(items, scores, strict=True), start=1)
                if item >= 0
            ]
            for items, scores in zip(found.items.tolist(), found.scores.tolist(), strict=True)
        ]

    # -- explanations --------------------------------------------------------------------------------------------

    def explained(self, found: Recommendations, events: Sequences, asked: ListRequest) -> Recommendations:
        """The recommendations `found` after one history of one event or more, with explanations."""
        loaded, reasoning, history = self.loaded, self.loaded.run.reasoning, events.items.astype(np.int64)
        residuals = loaded.residuals([history])  # of the whole history: the language model reads it once

        def generate(histories: Sequences) -> Queries:
            own = None if residuals is None else residuals.expand(len(histories), -1, -1)
            return asked.with_words(loaded.generated(histories, own, asked.seed))

        ids, title = self.interactions.catalogue["item"], self.interactions.title
        numbers = self.interactions.item_numbers([one.item for one in found])
        said = None if reasoning is None else reasoning.statement(history)
        text = None if said is None else sentence(said)
        if loaded.model.has_rationale:
            [text] = generate_texts(loaded.model, loaded.catalogue, Sequences.from_lists([history]))
        explained, now = [], loaded.newest_day if asked.day is None else asked.day
        for one, why in zip(found, reasons(self.ranker, generate, events, numbers.tolist()), strict=True):
            influences = (
                Influence(
                    ids[int(history[at])], title(int(history[at])), change, event_text(events, at, loaded.kinds, now)
                )
                for at, change in list(why.changes.items())[:INFLUENCES]
            )
            explained.append(replace(one, explanation=Explanation(text, tuple(influences), why.shares)))
        return Recommendations(explained, found.notes, found.held_back)


def event_text(events: Sequences, at: int, kinds: Sequence[str], now: float | None) -> str:
    """What happened at a place of a history: the kind of event, or a dislike, and how long ago; empty if unknown.

    `now` is the time that counts where the time of the request is unknown, in days since 1970.
    """
    said = []
    code = int(events.columns["kind"][at]) if "kind" in events.columns else PADDING
    if events.roles is not None and events.roles[at] == NEGATIVE:
        said.append("disliked")
    elif code != PADDING and code < len(kinds):
        said.append(kinds[code].replace("_", " "))
    ago = events.columns.get("ahead")  # until the request
    if ago is None and events.days is not None and now is not None:
        ago = now - events.days
    if ago is not None and not np.isnan(ago[at]):
        said.append(_ago(float(ago[at])))
    return ", ".join(said)


def _ago(days: float) -> str:
    """How long ago something happened, in words."""
    for size, unit in ((365.25, "year"), (30.4, "month"), (7.0, "week")):
        if days >= 2 * size:
            return f"{int(days / size)} {unit}s ago"
    return "today" if days < 1 else "yesterday" if days < 2 else f"{int(days)} days ago"


def _notes(items: list[int], k: int, rules: Sequence[Rule]) -> tuple[str, ...]:
    """Notes on a list of item numbers with `PADDING` at its end, where `k` items were asked for."""
    return list_notes([item for item in items if item != PADDING], k, rules)
