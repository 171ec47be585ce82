"""A run with its overlay in memory: data, model and score, the latents of histories, and what lists are made of."""

import difflib
import math
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
import polars as pl
import torch
from torch import Tensor

from deftrec.arguments import in_order, one_of
from deftrec.data import Cases, Id, Interactions, Part, Sequences, make_split
from deftrec.data.extend import conformed_events, next_cases, unknown_events
from deftrec.data.frames import events_frame, items_frame
from deftrec.data.ids import id_sequence
from deftrec.data.sequences import DAY
from deftrec.data.sources.columns import Place
from deftrec.data.words import item_categories
from deftrec.diffusion import Sampling
from deftrec.errors import ConfigError, DataError
from deftrec.evaluation import EvaluatedPart, Protocol
from deftrec.evaluation_cases import EvaluationCases
from deftrec.hardware import Precision, Runtime, inference_dtype
from deftrec.incremental import (
    Capabilities,
    EventsAdded,
    ItemsAdded,
    ItemsRemoved,
    Overlay,
    RunInMemory,
    add_events,
    add_items,
    current_state,
    remove_items,
)
from deftrec.inference import InferenceModel
from deftrec.requests import Lexicon, RequestReader, sentence_encoder
from deftrec.rerankers import Rerankers
from deftrec.retrieval import (
    Deny,
    ExtendedCatalogue,
    ItemColumns,
    Queries,
    RequestTerm,
    ScorePart,
    generate_queries,
    inference_queries,
)
from deftrec.retrieval.queries import batches
from deftrec.run import Run

Ids: TypeAlias = list[Any] | tuple[Any, ...] | range | np.ndarray | pl.Series
"""Several external ids; a pandas column is one, too."""

NEXT = "the interactions to evaluate"


class LoadedRun:
    """A run in memory; the base of `Recommender`, which has the arguments.

    Attributes:
        run, overlay: finished training, and what was added or removed after it.
        config, info: options and record of the training.
        interactions: data of the training, and items and events after it.
        model, catalogue, ranker: model, encoded items and score for these items.
        removed: numbers of the items that are not recommended. `[R]` int64
        precision, runtime: see `Recommender`.
    """

    def __init__(
        self, run: Run, overlay: Overlay | None = None, precision: Precision = "fp32", runtime: Runtime = "torch"
    ) -> None:
        one_of(precision, "precision", Precision)
        one_of(runtime, "runtime", Runtime)
        run.model.eval()
        self.run, self.config, self.info = run, run.config, run.info
        self.precision, self.runtime = precision, runtime
        self._apply(overlay)

    def _apply(self, overlay: Overlay | None) -> None:
        """Set everything that follows from the run and its overlay; what was computed from another one is forgotten."""
        rerankers: Rerankers | None = vars(self).get("rerankers")
        for kind in type(self).__mro__:
            for name in [name for name, one in vars(kind).items() if isinstance(one, cached_property)]:
                vars(self).pop(name, None)
        run, self.overlay = self.run, overlay
        self.interactions, self.model, self.removed, confidence = current_state(run, overlay)
        self.catalogue, self.ranker = run.catalogue, run.ranker
        if self.interactions.n_items > run.interactions.n_items:
            self.catalogue = self.model.encode_catalogue()
            added = None if overlay is None or not overlay.vectors.numel() else overlay.vectors
            self.ranker = self.ranker.extended(ExtendedCatalogue(self.catalogue.latents, confidence, added))
        if len(self.removed):
            self.ranker = self.ranker.with_rules(Deny(self.removed))
        if rerankers is not None and "auto_strength" in vars(rerankers):  # chosen on the run's own data
            self.rerankers.auto_strength = rerankers.auto_strength

    def with_overlay(self, overlay: Overlay | None) -> Self:
        """This run, with its weights in memory and another overlay."""
        other = copy(self)
        other._apply(overlay)
        return other

    def add_items(self, items: Any, *, item: str | None = None) -> ItemsAdded:
        """Make new items recommendable by their words, at once and in memory; `save` writes them.

        `items` is a data frame of ids (in the column `item`, None: found by its name) and titles, categories or texts.
        Errors as for `deftrec.incremental.add_items`, which changes a run directory.
        """
        place = RunInMemory(self.run, self.overlay)
        done = add_items(place, items_frame(items, item=item), device=self.catalogue.latents.device)
        self._apply(place.overlay)
        return done

    def remove_items(self, items: Sequence[Id]) -> ItemsRemoved:
        """Stop recommending items, in memory; they stay in histories. Errors as for `deftrec.incremental`'s."""
        place = RunInMemory(self.run, self.overlay)
        done = remove_items(place, items)
        self._apply(place.overlay)
        return done

    def add_events(
        self, events: Any, *, user: str | None = None, item: str | None = None, time: str | None = None
    ) -> EventsAdded:
        """Add interactions to histories, those of new users too, at once and in memory; `save` writes them.

        `events` and its columns are as for `fit`. Errors as for `deftrec.incremental.add_events`, which changes a run
        directory.
        """
        place = RunInMemory(self.run, self.overlay)
        done = add_events(place, events_frame(events, user=user, item=item, time=time))
        self._apply(place.overlay)
        return done

    @property
    def kinds(self) -> list[str]:
        """Kinds of events, in the order of their codes."""
        return list(self.config.data.kinds)

    @cached_property
    def newest_day(self) -> float | None:
        """Time of the newest event in days since 1970; None where times have no known unit."""
        days = self.interactions.days
        return None if days is None or not len(days) else float(days.max())

    def day_of(self, at: datetime | float | None) -> float | None:
        """A time, a date or a number in the unit of the data, in days since 1970; None: none is given.

        Raises a `ConfigError` if the data's times have no known unit, and for NaN.
        """
        if at is None:
            return None
        units = self.interactions.units_per_second
        if units is None:
            raise ConfigError("`at=...`: the times of this run's data have no known unit, so no time can be given")
        if isinstance(at, datetime):
            return at.replace(tzinfo=at.tzinfo or UTC).timestamp() / DAY
        if not math.isfinite(at):
            raise ConfigError(f"`at={at}` is no time; give a date, or a number in the unit of the data")
        return float(at) / (DAY * units)

    # -- data --------------------------------------------------------------------------------------------------

    @property
    def fitted_on(self) -> Interactions:
        """Data of the training, whose targets `evaluate` uses. `interactions` also holds events after training."""
        return self.run.interactions

    @cached_property
    def capabilities(self) -> Capabilities:
        """Whether this run can serve users and items that it was not trained on."""
        return Capabilities.of(self.config, self.info)

    @cached_property
    def popularity(self) -> Tensor:
        """Training targets of each item (all interactions without roles); 0 for added items. `[I]` int64"""
        return torch.from_numpy(self.run.training.targets().counts(self.interactions.n_items))

    @cached_property
    def columns(self) -> ItemColumns:
        """The catalogue as rules see it."""
        return ItemColumns(self.interactions, self.popularity.numpy())

    def histories(self, users: np.ndarray | list[int]) -> Sequences:
        """Known histories of users (by number), with what is known of their events."""
        return self.interactions.sequences.select(users)

    def histories_of(
        self, user: Id | Ids | None, users: Ids | None, history: Sequence[Id] | None
    ) -> tuple[Sequences, np.ndarray | None, bool]:
        """Histories of item numbers, their users' numbers (None for a given history), and whether one is asked for."""
        if (user is not None) + (users is not None) + (history is not None) != 1:
            raise ConfigError("give either a user or a history: recommend(user), recommend([user, ...]), history=[...]")
        if history is not None:
            return Sequences.from_lists([self.interactions.item_numbers(in_order(history, "history"))]), None, True
        if isinstance(users, str | int):
            raise ConfigError(f"users is {users!r}; give a list of users, or user={users!r}")
        named, is_one = id_list(user if users is None else users)
        numbers = self.user_numbers(named)
        return self.histories(numbers), numbers, is_one

    def user_numbers(self, users: Any) -> np.ndarray:
        """Numbers of users; None: all. `[n]` int64"""
        if users is None:
            return np.arange(self.interactions.n_users)
        several = id_sequence(in_order(users, "users"))
        return np.array([self.interactions.user_number(user) for user in several], np.int64)

    @cached_property
    def categories(self) -> dict[str, Tensor]:
        """Numbers of the items of each category, by name. Each `[n]` int64"""
        members: dict[str, list[int]] = {}
        for number, names in enumerate(item_categories(self.interactions)):
            for name in names:
                members.setdefault(name, []).append(number)
        return {name: torch.tensor(members[name]) for name in sorted(members)}

    def items_of(self, category: str) -> Tensor:
        """Numbers of the items of a category, `[n]` int64; a `DataError` with the nearest name if there are none."""
        if not isinstance(category, str):
            raise ConfigError(f"category is {category!r}; give the name of one category")
        if category not in self.categories:
            near = difflib.get_close_matches(category, self.categories, n=1, cutoff=0.0)
            hint = f"; did you mean {near[0]!r}?" if near else "; the items have no categories"
            raise DataError(f"no item has the category {category!r}{hint}")
        return self.categories[category]

    # -- latents -----------------------------------------------------------------------------------------------

    @cached_property
    def fast(self) -> InferenceModel | None:
        """The model prepared for inference; None where only the plain model can read histories.

        Raises a `MissingExtraError` if the runtime is not installed, and a `ConfigError` if the runtime cannot run this
        model.
        """
        if not InferenceModel.suits(self.model):
            if self.runtime != "torch":
                raise ConfigError(
                    f"runtime {self.runtime} reads histories of tokens only, and this run's model reads titles, "
                    "generates a rationale, or keeps no keys and values: leave runtime at torch"
                )
            return None
        dtype = inference_dtype(self.precision, self.catalogue.latents.device)
        return InferenceModel(self.model, self.catalogue, dtype, self.runtime)

    def queries(
        self, histories: Sequences, seed: int | None = None, samples: int | None = None, *, wait: bool | None = None
    ) -> Queries:
        """Generate latents of the next item for histories of item numbers, oldest first, none of them empty.

        The result is the mean over `samples` draws of noise; None: as configured. `wait` as for `residuals`.
        """
        return self.generated(histories, self.residuals(list(histories), wait=wait), seed, samples)

    def residuals(self, histories: list[np.ndarray], *, wait: bool | None = None) -> Tensor | None:
        """What the reasoner adds to the conditions after histories of item numbers. `[N, M, d]`; None: nothing.

        `wait` decides whether missing states are computed at once; None: the reasoner's attribute `wait`, which is true
        except in the service.
        """
        reasoning = self.run.reasoning
        return None if reasoning is None else reasoning.residuals(histories, wait=wait)

    def generated(
        self, histories: Sequences, residuals: Tensor | None, seed: int | None = None, samples: int | None = None
    ) -> Queries:
        """`queries` whose `residuals` are known."""
        sampling = Sampling.of(self.config.diffusion)
        if samples is not None:
            sampling = replace(sampling, samples=samples)
        seed = self.config.seed if seed is None else seed
        if self.fast is not None:
            return inference_queries(self.fast, histories, sampling=sampling, seed=seed, residuals=residuals)
        return generate_queries(
            self.model, self.catalogue, histories, sampling=sampling, seed=seed, residuals=residuals
        )

    def denoising_path(self, history: Sequence[Id], steps: int = 20, seed: int = 0) -> Tensor:
        """The denoised latent after every step from a draw of noise, for plots. `[steps, D]`"""
        numbers = Sequences.from_lists([self.interactions.item_numbers(history)])
        device = self.catalogue.latents.device
        [(_, items, layout)] = batches(self.model.max_history, numbers, device)
        sampling = replace(Sampling.of(self.config.diffusion), steps=steps, samples=1, keep_path=True)
        generator = torch.Generator(device).manual_seed(seed)
        sample = self.model.generate(self.catalogue, items, layout, sampling, generator)
        assert sample.path is not None
        return sample.path[:, 0].cpu()

    # -- requests in words, re-ranking, targets ------------------------------------------------------------------

    @cached_property
    def requests(self) -> RequestReader:
        """Reader of requests in words; a `ConfigError` if the run has not learnt to read them."""
        term = self.ranker.term_of(RequestTerm)
        if term is None:
            raise ConfigError(
                "this run has not learnt to read requests; in a minute or two it does: deftrec requests RUN"
            )
        return RequestReader(Lexicon(self.interactions), term, sentence_encoder(term.sentence_model))

    @cached_property
    def rerankers(self) -> Rerankers:
        """Re-rankers of this run, by name."""

        def validate(users: int) -> EvaluationCases | None:
            return self.examine("validation", users=users) if len(self._cases("validation")) else None

        return Rerankers(self.run, self.interactions, self.catalogue, validate)

    def examine(
        self,
        split: Part,
        parts: ScorePart = "hybrid",
        users: int | None = None,
        *,
        target_kind: str | None = None,
        min_value: float | None = None,
    ) -> EvaluationCases:
        """The targets of a split with generated latents, as far as `parts` needs them.

        `users` limits them to so many random ones; None: all. `target_kind` and `min_value` limit them to those of a
        kind, and of a value. Raises a `DataError` if nobody has such a target in `split`, and a `ConfigError` if the
        data have no kinds or values.
        """
        cases, name = self._cases(split, target_kind, min_value), self.interactions.meta.name
        if not len(cases):
            limits = [] if target_kind is None else [f"of kind {target_kind!r}"]
            limits += [] if min_value is None else [f"with a value of {min_value:g} or more"]
            what = " ".join([f"a {split} target", *limits])
            raise DataError(f"{name}: no user has {what}, so nothing can be measured")
        if users is not None and users < len(cases):
            cases = cases.select(np.random.default_rng(0).permutation(len(cases))[:users])
        return self._examined(cases, self.config.data.split, split, parts)

    def examine_next(self, events: pl.DataFrame, parts: ScorePart = "hybrid") -> EvaluationCases:
        """The first of `events` of each user that this run does not know, after what it knows from before.

        `events` has the columns `user`, `item`, `time`. Raises a `DataError` if nobody has such an event and one
        before it, for an unknown item, and for ids or times of another type.
        """
        given = conformed_events(events, self.interactions, Place(NEXT))
        new = unknown_events(self.interactions, given)
        strange = new.join(self.interactions.catalogue, on="item", how="anti", maintain_order="left")
        if strange.height:
            mend = "add it first with add_items, or leave its rows out"
            raise DataError(f"{NEXT}: item {strange['item'][0]!r} is not in the catalogue of this run; {mend}")
        cases = next_cases(self.interactions, new)
        if not len(cases):
            raise DataError(f"{NEXT}: nobody has one that the run does not know, and one before it: nothing to measure")
        return self._examined(cases, "next interaction", "given", parts)

    def _examined(self, cases: Cases, protocol: Protocol, split: EvaluatedPart, parts: ScorePart) -> EvaluationCases:
        """The cases with generated latents, as far as `parts` needs them."""
        if parts == "collaborative_prior":  # which reads no latents
            queries = Queries(cases.histories, self.catalogue.latents.new_zeros(len(cases), 1))
        else:
            queries = self.queries(cases.histories)
        items = self.rerankers.description
        return EvaluationCases(self.run, protocol, split, cases, queries, self.ranker, self.popularity, items)

    def _cases(self, split: Part, kind: str | None = None, min_value: float | None = None) -> Cases:
        kinds, signals = list(self.config.data.kinds), self.fitted_on.signals.columns
        if kind is not None and kind not in kinds:
            known = f"the kinds are {', '.join(kinds)}" if kinds else "this run's data have no kinds"
            raise ConfigError(f"`target_kind={kind}`: {known}")
        if min_value is not None and "value" not in signals:
            raise ConfigError("`min_value=...`: this run's data have no values")
        code = None if kind is None else kinds.index(kind)
        return make_split(self.fitted_on, self.config.data.split).cases(split, kind=code, min_value=min_value)


def id_list(ids: Any) -> tuple[list[Id], bool]:
    """External ids as a list, and whether only one was given; 7.0 is 7, as pandas makes floats beside missing ids."""
    is_one = isinstance(ids, str | int | float | np.generic)
    listed = [ids] if is_one else id_sequence(in_order(ids, "the list of ids"))
    return [int(one) if isinstance(one, float) and one.is_integer() else one for one in listed], is_one
