"""Fit, recommend, similar, evaluate, save, load: the class that users of the library import."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Never, Self, Unpack, overload

import numpy as np
import polars as pl
import torch

from deftrec.arguments import check_k, check_seed, cutoffs_of, device_of, in_order, one_of
from deftrec.config import Config, ReasonerOptions
from deftrec.data import Id, Part, Sequences
from deftrec.data.frames import as_interactions, events_frame
from deftrec.errors import ConfigError
from deftrec.evaluation import Result, Seen
from deftrec.habits import RECOMMENDER, advice
from deftrec.hardware import Precision, Runtime, default_device
from deftrec.incremental import Overlay, WarmStart, read_overlay, save_with_overlay
from deftrec.language import TextEngine
from deftrec.list_making import ListMaker, ListOptions, Rules
from deftrec.listeners import Callback, listener
from deftrec.loaded import Ids, LoadedRun, id_list
from deftrec.notebook import html_table
from deftrec.progress import Progress
from deftrec.recommendation import Embeddings, Recommendations
from deftrec.requests import ReadRequest
from deftrec.rerankers import ItemSimilarity, RerankerName
from deftrec.retrieval import Reranker, ScorePart, ScoreTerm, generate_texts
from deftrec.run import Request, Run, load_run, save_requests, saving_in


class Recommender(LoadedRun):
    """A trained DeftRec with its data; items and users have the caller's own ids.

    Use `Recommender.fit` or `Recommender.load`.

    Args:
        run: finished training.
        overlay: items, events and removals after training; None: there are none.
        precision: type of the matrix products that read histories. `fp32` (default) is the reference; `auto` is bf16
            where it is faster on this machine.
        runtime: runtime of a pre-trained language model. `torch` (default), or `openvino` (extra of that name), which
            is faster on a CPU and refuses a model that it cannot run at the first request.
    """

    def __init__(
        self,
        run: Run | None = None,
        overlay: Overlay | None = None,
        precision: Precision = "fp32",
        runtime: Runtime = "torch",
    ) -> None:
        if not isinstance(run, Run):
            raise ConfigError("a recommender is made by Recommender.fit(data, config) or Recommender.load(directory)")
        super().__init__(run, overlay, precision, runtime)

    def with_term(self, term: ScoreTerm) -> Self:
        """This recommender with one more score term behind the others; nothing is saved."""
        other = copy(self)
        other.ranker = self.ranker.with_term(term)
        vars(other).pop("rerankers", None)  # `auto` follows the score
        return other

    @property
    def lists(self) -> ListMaker:
        """Makes lists for item numbers; what the methods below stand on."""
        return ListMaker(self)

    # -- training and files ------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        interactions: Any,
        config: Config | None = None,
        *,
        items: Any = None,
        user: str | None = None,
        item: str | None = None,
        time: str | None = None,
        kind: str | None = None,
        value: str | None = None,
        attributes: Sequence[str] | None = None,
        out: str | Path | None = None,
        refit: bool = False,
        resume: bool = False,
        device: torch.device | None = None,
        progress: Progress | bool | None = None,
        callbacks: Sequence[Callback] = (),
        shared: str | Path | None = None,
        on_train: Callable[["Recommender"], None] | None = None,
        start: "Recommender | None" = None,
        overwrite: bool = False,
    ) -> "Recommender":
        """Train every stage. The processes of `accelerate launch` share the work and all return the same recommender.

        Raises a `DeftRecError` if `out` holds another run, nothing that could be resumed, or a run that another process
        trains; or the data cannot be split.

        Args:
            interactions: `Interactions`, or a polars or pandas frame with a row for each interaction.
            items: frame of items, one row each: ids, and any of titles, categories, texts; None: those in
                `interactions`, if any.
            user, item, time: columns of the frame; None: found by their names, such as `user_id`, `sku`, `timestamp`.
            kind, value: columns of kinds of events (view, purchase), and of ratings or amounts; None: found, if there.
            attributes: columns of the items' attributes (price, brand); None: found by their names.
            config: options; default: `Config()`, which adapts to the size of the data.
            out: run directory; None: nothing is written, and nothing can be resumed.
            refit: train again on train + validation, for the epochs that validation chose.
            resume: continue an interrupted run in `out`.
            device: device of the training; None: the first GPU, else the CPU.
            progress: True: bars in a notebook or terminal; or a receiver of progress; None: nothing is shown.
            callbacks: functions that are called at the end of every epoch; see `deftrec.listeners.Callback`.
            shared: folder of text and collaborative vectors, shared by runs with the same data, options and seed.
            on_train: called before a refit with the recommender fitted on train alone.
            start: recommender whose weights training continues from; its options are the default of `config`. Items and
                events that it got after its training join the data, and what was removed from it stays removed.
            overwrite: replace a run in `out`, which stays if the training fails before its first stage ends.
        """
        from deftrec.training.fit import fit_run  # a slow import, only where needed

        shown = listener(progress, callbacks)
        named = {"user": user, "item": item, "time": time, "kind": kind, "value": value}
        data = as_interactions(interactions, items, attributes=attributes, **named)
        if data is not interactions:
            shown.say(data.meta.source)
        begun = None if start is None else WarmStart(start.run, start.overlay)
        run = fit_run(
            data,
            config or (Config() if start is None else start.config),
            folder=None if out is None else Path(out),
            refit=refit,
            resume=resume,
            device=device_of(device) or default_device(),
            progress=shown,
            shared=None if shared is None else Path(shared),
            on_train=None if on_train is None else lambda run: on_train(cls(run)),
            start=begun,
            overwrite=overwrite,
        )
        return cls(run, None if begun is None else begun.removals(run.interactions))

    def with_reasoner(
        self,
        options: ReasonerOptions | None = None,
        *,
        out: str | Path | None = None,
        resume: bool = False,
        device: torch.device | None = None,
        progress: Progress | bool | None = None,
        overwrite: bool = False,
    ) -> "Recommender":
        """Train a generative language model beside this model, whose weights and score terms stay as they are.

        Raises a `ConfigError` if this run has a reasoner or was refitted. Other errors are those of `fit`.

        Args:
            options: options of the reasoner; None: the defaults.
            out, resume, progress, overwrite: as for `fit`.
            device: device of this model and of the training; None: that of this model.
        """
        from deftrec.training.fit import add_reasoner  # a slow import, only where needed

        run = add_reasoner(
            self.run,
            options or ReasonerOptions(),
            folder=None if out is None else Path(out),
            resume=resume,
            device=device_of(device) or self.catalogue.latents.device,
            progress=listener(progress),
            overlay=self.overlay,
            overwrite=overwrite,
        )
        return type(self)(run, self.overlay, self.precision, self.runtime)

    def with_requests(
        self,
        *,
        language_model: str | None = None,
        out: str | Path | None = None,
        progress: Progress | bool | None = None,
    ) -> "Recommender":
        """Learn to read requests in words, in a minute or two; the model and lists without a request stay as they are.

        Raises a `ConfigError` if the items have no words to ask for, or the errors of `model_folder`.

        Args:
            language_model: causal language model that relates words to the categories, such as `smollm2`, for requests
                that name none; None: that of the run's reasoner, if it has one.
            out: directory of this run, into which what was learnt is written; None: nothing is written.
            progress: as for `fit`.
        """
        from deftrec.training.requests import train_requests  # a slow import, only where needed

        term = train_requests(self.run, listener(progress), language_model)
        if out is not None:
            save_requests(Path(out), term)
        run = replace(self.run, ranker=self.run.ranker.with_requests(term))
        return Recommender(run, self.overlay, self.precision, self.runtime)

    def save(self, directory: str | Path, *, overwrite: bool = False) -> None:
        """Write a run directory that `load` reads; with `overwrite`, in place of a run that is there.

        Raises a `DeftRecError` if the directory is not empty or, with `overwrite`, holds anything but a run.
        """
        folder, info = Path(directory), self.info
        refit = info.fit == "train+validation"
        request = Request(config=self.config, fingerprint=info.fingerprint, refit=refit, start=info.start)
        if self.run.reasoning is not None:
            _ = self.run.reasoning.reasoner  # read before its file may be overwritten
        with saving_in(folder, request, self.fitted_on, overwrite):
            save_with_overlay(folder, self.run, self.overlay)

    @classmethod
    def load(
        cls,
        directory: str | Path,
        device: torch.device | None = None,
        precision: Precision = "fp32",
        runtime: Runtime = "torch",
    ) -> "Recommender":
        """Read a run directory and its overlay; `precision` and `runtime` as for the class.

        Raises a `DeftRecError` if it is missing, unfinished or damaged.
        """
        folder, device = Path(directory), device_of(device)
        one_of(precision, "precision", Precision)
        one_of(runtime, "runtime", Runtime)
        run = load_run(folder, device or default_device())
        return cls(run, read_overlay(folder, run.interactions), precision, runtime)

    # -- recommending ------------------------------------------------------------------------------------------

    @overload
    def recommend(
        self,
        user: Id | None = None,
        k: int = 10,
        *,
        history: Sequence[Id] | None = None,
        explain: bool = False,
        **options: Unpack[ListOptions],
    ) -> Recommendations: ...

    @overload
    def recommend(
        self, user: Ids, k: int = 10, *, explain: bool = False, **options: Unpack[ListOptions]
    ) -> list[Recommendations]: ...

    @overload
    def recommend(
        self, *, users: Ids, k: int = 10, explain: bool = False, **options: Unpack[ListOptions]
    ) -> list[Recommendations]: ...

    @overload
    def recommend(
        self,
        user: Id | Ids | None = None,
        k: int = 10,
        *,
        users: Ids | None = None,
        history: Sequence[Id] | None = None,
        as_frame: Literal[True],
        **options: Unpack[ListOptions],
    ) -> pl.DataFrame: ...

    def recommend(
        self,
        user: Id | Ids | None = None,
        k: int = 10,
        *,
        users: Ids | None = None,
        history: Sequence[Id] | None = None,
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
        explain: bool = False,
        as_frame: bool = False,
    ) -> Recommendations | list[Recommendations] | pl.DataFrame:
        """The `k` best items for a known user, for each of several users, or after any history.

        Raises a `DataError` for an unknown user, item or category; and a `ConfigError` for neither or both of user and
        history, for k below 1, for a request that cannot be read, and for rules that this catalogue cannot have. Errors
        of a re-ranker are those of `Rerankers.make`.

        Args:
            user: user of the data, with the whole known history; or a list of users, which gives a list of lists.
            k: length of the list; shorter where rules or the catalogue leave fewer items.
            users: list of users, instead of `user`.
            history: items, oldest first; an empty history is answered by popularity.
            exclude_seen: exclude items of the history.
            allow: only these items; None: all items.
            deny: none of these items.
            category: only items of this category; None: all items.
            request: wish in words, such as "science fiction, nothing violent", for a run that has learnt to read them
                (`with_requests`), or what `requests.read` made of one; None: none.
            guidance: weight of the request, from 0 (none) to 8; 1 as learnt.
            rerank: order of the best 100 items: `none` (the score), `mmr`, `dpp`, `calibrated`, `auto`, or a re-ranker
                (`reranker`). The list after an empty history is not re-ranked.
            strength: strength of the re-ranking, 0 (the order of the score) or more; None: 0.5.
            rules: business rules, such as `{"boost": {"column": "category", "is": "Drama", "factor": 2}}`.
            offset: number of items before the list: the best `k` after them. Lists of one request never overlap.
            seed: seed of the sampling noise; None: `config.seed`.
            at: time of the request, a date or a number in the unit of the data's times; None: unknown.
            explain: add explanations, for which the model runs once for every item of the history, and what rules did.
            as_frame: one polars frame of columns `user` (not after a history), `item`, `rank`, `score` and `title`.
                Scores of re-ranked lists of users are null there.
        """
        histories, numbers, is_one = self.histories_of(user, users, history)
        asked = self.lists.read(
            k,
            timed=numbers is not None,
            exclude_seen=exclude_seen,
            allow=allow,
            deny=deny,
            category=category,
            request=request,
            guidance=guidance,
            rerank=rerank,
            strength=strength,
            rules=rules,
            offset=offset,
            seed=seed,
            at=at,
        )
        if as_frame and explain:
            raise ConfigError("a frame has no room for explanations: leave out as_frame or explain")
        if as_frame and numbers is not None:
            return self.lists.frame(numbers, asked)
        if is_one or explain:
            found = [self.lists.one(histories.select([n]), asked, explain=explain) for n in range(len(histories))]
            return found if not is_one else found[0].to_frame() if as_frame else found[0]
        return self.lists.several(histories, asked)

    def recommend_many(
        self, histories: Sequence[Sequence[Id]], *, k: int = 10, **options: Unpack[ListOptions]
    ) -> list[Recommendations]:
        """`recommend` for many histories at once, with the same options and results."""
        numbers = [self.interactions.item_numbers(in_order(history, "a history")) for history in histories]
        return self.lists.several(Sequences.from_lists(numbers), self.lists.read(k, timed=False, **options))

    def recommend_all(
        self, k: int = 10, *, users: Ids | None = None, titles: bool = False, **options: Unpack[ListOptions]
    ) -> Iterator[pl.DataFrame]:
        """Lists of `users` (None: all) in frames of columns `user, item, rank, score` and, with `titles`, `title`.

        Memory does not grow with users. Options as for `recommend`. Unlike there, a reasoner's states are only read
        from its store, which `deftrec reason` fills; a missing one adds nothing to the condition. Scores of lists that
        a re-ranker ordered are null, so that readers of the rankings go by rank.
        """
        asked = self.lists.read(k, timed=True, **options)
        return self.lists.frames(self.user_numbers(users), asked, titles=titles, wait=False)

    def continue_list(
        self,
        history: Sequence[Id],
        count: int,
        *,
        exclude_seen: bool = True,
        allow: Sequence[Id] | None = None,
        deny: Sequence[Id] = (),
        category: str | None = None,
        seed: int | None = None,
    ) -> Recommendations:
        """`count` items that continue a history in order, each chosen after the history and those before it.

        For playlists and other sequences. As a set of suggestions `recommend` is better: it is trained for that, and an
        error at one place does not pass on to the next. No item is listed twice. The model runs once for every item.
        Shorter where rules or the catalogue leave fewer items. Arguments and errors as for `recommend`.
        """
        asked = self.lists.read(
            count, timed=False, exclude_seen=exclude_seen, allow=allow, deny=deny, category=category, seed=seed
        )
        return self.lists.continued(self.interactions.item_numbers(in_order(history, "history")), asked)

    def reranker(
        self, name: RerankerName, strength: float | None = None, similarity: ItemSimilarity = "co-occurrence"
    ) -> Reranker | None:
        """A re-ranker for `recommend`; arguments and errors as for `Rerankers.make`."""
        return self.rerankers.make(name, strength, similarity)

    def preferences(self, histories: Sequence[Sequence[Id]], engine: TextEngine | None = None) -> list[str]:
        """The statement of the reasoner, or the rationale that the model generates, for each history.

        Raises a `ConfigError` if the run has learnt no rationales, or a history is empty; and a `DataError` for an
        unknown item.

        Args:
            histories: items, oldest first.
            engine: engine that generates instead of the model, for many users on a GPU (`deftrec.language.VllmEngine`).
        """
        if not all(histories):
            raise ConfigError("an empty history shows no preference; give one item or more")
        numbers = Sequences.from_lists([self.interactions.item_numbers(history) for history in histories])
        if self.run.reasoning is not None:
            return self.run.reasoning.statements(list(numbers)).texts
        return generate_texts(self.model, self.catalogue, numbers, engine=engine)

    # -- scores and vectors ----------------------------------------------------------------------------------------

    def score(
        self,
        user: Id | Ids | None = None,
        items: Sequence[Id] = (),
        *,
        history: Sequence[Id] | None = None,
        seed: int | None = None,
    ) -> np.ndarray:
        """Scores of `items` for a user `[n]`, for each of several users `[N, n]`, or after a history `[n]`. float32

        They are those of `recommend`, also for items of the history and removed ones; no rule changes them. Comparable
        for one user only. After an empty history, the training interactions of each item. Errors as for `recommend`.
        """
        histories, _, is_one = self.histories_of(user, None, history)
        scores = self.lists.scores(histories, self.interactions.item_numbers(in_order(items, "items")), seed)
        return scores[0] if is_one else scores

    @overload
    def similar(self, item: Id, k: int = 10) -> Recommendations: ...

    @overload
    def similar(self, item: Ids, k: int = 10) -> list[Recommendations]: ...

    def similar(self, item: Id | Ids, k: int = 10) -> Recommendations | list[Recommendations]:
        """The `k` items whose latents have the largest cosine with that of `item`; one list for each of several items.

        Raises a `DataError` if an item is unknown.
        """
        k, _ = check_k(k)
        items, is_one = id_list(item)
        lists = self.lists.similar(self.interactions.item_numbers(items), k)
        return lists[0] if is_one else lists

    def item_embeddings(self) -> Embeddings:
        """Latents of all items, by which `similar` compares them. `[I, D]` float32"""
        latents = self.catalogue.latents.float().cpu().numpy()
        return Embeddings(self.interactions.catalogue["item"].to_list(), latents)

    def user_embeddings(self, users: Ids | None = None, *, seed: int | None = None) -> Embeddings:
        """Latents of the next item that the model generates for `users`; None: all users. `[n, D]` float32

        They lie in the space of `item_embeddings`, and the score's first term compares the two; `score` has all terms.
        """
        numbers = self.user_numbers(users)
        if not len(numbers):
            return Embeddings([], np.zeros((0, self.catalogue.latents.shape[1]), np.float32))
        latents = self.queries(self.histories(numbers), check_seed(seed)).latents.float().cpu().numpy()
        return Embeddings(self.interactions.users.gather(numbers).to_list(), latents)

    # -- evaluating --------------------------------------------------------------------------------------------

    def evaluate(
        self,
        split: Part = "test",
        seen: Seen = "exclude",
        parts: ScorePart = "hybrid",
        *,
        interactions: Any = None,
        k: int | Sequence[int] | None = None,
        metrics: Sequence[str] | None = None,
        target_kind: str | None = None,
        min_value: float | None = None,
    ) -> Result:
        """Metrics on the targets of a split of the training's data, or on other interactions; every item is ranked.

        Raises a `DataError` if there is no target, and a `ConfigError` for an unknown metric.

        Args:
            split: `validation` or `test`; a history is everything before its target.
            seen: `exclude` (default) or `keep` items of the history as candidates.
            parts: `hybrid` (default), the whole score; `latent` or `collaborative_prior`, one part alone.
            interactions: `Interactions` or a data frame as for `fit`, instead of `split`. The target of each user is
                the first interaction that the run does not know; the history is what it knows from before.
            k: cutoffs of the metrics; None: 5, 10, 20, 50.
            metrics: names such as `("ndcg", "hr")`; None: all.
            target_kind, min_value: kind, and smallest value, of the targets of `split` that are evaluated; None: any.
        """
        if not isinstance(split, str):
            raise ConfigError("split is 'validation' or 'test'; other data are given as evaluate(interactions=data)")
        one_of(split, "split", Part)
        one_of(seen, "seen", Seen)
        cutoffs, metrics = cutoffs_of(k), (metrics,) if isinstance(metrics, str) else metrics
        if interactions is None:
            asked = self.examine(split, parts, target_kind=target_kind, min_value=min_value)
        else:
            asked = self.examine_next(events_frame(interactions))
        return asked.result(seen, parts, cutoffs).only(cutoffs, metrics)

    def evaluate_parts(
        self,
        split: Part = "test",
        seen: Seen = "exclude",
        *,
        target_kind: str | None = None,
        min_value: float | None = None,
    ) -> dict[ScorePart, Result]:
        """`evaluate` for the whole score and for each part that the run has; histories are read once."""
        return self.examine(split, target_kind=target_kind, min_value=min_value).results(seen)

    # -- display -------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        data = self.interactions
        what = f"{data.meta.name}, {data.n_users:,} users, {data.n_items:,} items"
        return f"Recommender({what}, fitted on {self.info.fit})"

    def _repr_html_(self) -> str:
        data, info = self.interactions, self.info
        terms = ", ".join(term.name.replace("_", " ") for term in self.ranker.terms)
        rows = [
            ("data", f"{data.meta.name}: {data.n_users:,} users, {data.n_items:,} items"),
            ("fitted on", info.fit),
            ("parameters", f"{info.parameters:,}"),
            ("score", terms),
        ]
        return html_table(rows)

    if not TYPE_CHECKING:  # a type checker shall still find wrong names

        def __getattr__(self, name: str) -> Never:
            raise AttributeError(advice("Recommender", name, RECOMMENDER))
