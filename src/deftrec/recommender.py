"""Fit, recommend, similar, evaluate, save, load: the class that users of the library import."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import torch
from torch import Tensor

from deftrec.config import Config, ReasonerOptions
from deftrec.data import PADDING, Cases, Id, Interactions, Part, Sequences, TimedSequences, make_split
from deftrec.data.words import item_categories
from deftrec.diffusion import Sampling
from deftrec.errors import ConfigError, DataError
from deftrec.evaluation import Result, Seen, ranking_frame
from deftrec.evaluation_cases import EvaluationCases
from deftrec.explanation import reasons
from deftrec.hardware import Precision, Runtime, default_device, inference_dtype
from deftrec.incremental import Capabilities, Overlay, WarmStart, current_state, read_overlay, save_with_overlay
from deftrec.inference import InferenceModel
from deftrec.language import TextEngine
from deftrec.progress import Progress
from deftrec.reasoning import sentence
from deftrec.recommendation import Explanation, HeldBack, Influence, Recommendation, Recommendations, Source
from deftrec.requests import Lexicon, ReadRequest, RequestReader, sentence_encoder
from deftrec.rerankers import ItemSimilarity, RerankerName, Rerankers
from deftrec.retrieval import (
    Deny,
    ExtendedCatalogue,
    Found,
    ItemColumns,
    Queries,
    RequestTerm,
    Reranker,
    Rule,
    RuleOptions,
    ScorePart,
    ScoreTerm,
    build_rules,
    generate_queries,
    generate_texts,
    inference_queries,
    list_notes,
    make_lists,
    parse_rules,
    request_rules,
    rule_effects,
    top,
)
from deftrec.retrieval.queries import batches
from deftrec.run import Request, Run, load_run, save_requests, saving_in

USERS_AT_ONCE = 4096
INFLUENCES = 3  # number of history items that an explanation names

Rules: TypeAlias = Sequence[RuleOptions | Mapping[str, Any]]
"""Business rules, as `deftrec.retrieval.read_rules` reads them, or as mappings of one key each."""


class Recommender:
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

    precision: Precision
    runtime: Runtime

    def __init__(
        self, run: Run, overlay: Overlay | None = None, precision: Precision = "fp32", runtime: Runtime = "torch"
    ) -> None:
        run.model.eval()
        self.precision, self.runtime = precision, runtime
        self.run, self.overlay, self.config, self.info = run, overlay, run.config, run.info
        self.interactions, self.model, self.removed, confidence = current_state(run, overlay)
        self.catalogue, self.ranker = run.catalogue, run.ranker
        if self.interactions.n_items > run.interactions.n_items:
            self.catalogue = self.model.encode_catalogue()
            added = None if overlay is None or not overlay.vectors.numel() else overlay.vectors
            self.ranker = self.ranker.extended(ExtendedCatalogue(self.catalogue.latents, confidence, added))
        if len(self.removed):
            self.ranker = self.ranker.with_rules(Deny(self.removed))

    def with_term(self, term: ScoreTerm) -> "Recommender":
        """This recommender with one more score term behind the others; nothing is saved."""
        other = copy(self)
        other.ranker = self.ranker.with_term(term)
        vars(other).pop("rerankers", None)  # `auto` follows the score
        return other

    def with_overlay(self, overlay: Overlay | None) -> "Recommender":
        """This run, with its weights in memory and another overlay."""
        other = Recommender(self.run, overlay, self.precision, self.runtime)
        if "rerankers" in vars(self) and "auto_strength" in vars(self.rerankers):  # chosen on the run's own data
            other.rerankers.auto_strength = self.rerankers.auto_strength
        return other

    @property
    def fitted_on(self) -> Interactions:
        """Data of the training, whose targets `evaluate` uses. `interactions` also holds events after training."""
        return self.run.interactions

    @cached_property
    def capabilities(self) -> Capabilities:
        """Whether this run can serve users and items that it was not trained on."""
        return Capabilities.of(self.config, self.info)

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

    @cached_property
    def rerankers(self) -> Rerankers:
        """Re-rankers of this run, by name."""

        def validate(users: int) -> EvaluationCases | None:
            return self.examine("validation", users=users) if len(self._cases("validation")) else None

        return Rerankers(self.run, self.interactions, self.catalogue, validate)

    def reranker(
        self, name: RerankerName, strength: float | None = None, similarity: ItemSimilarity = "co-occurrence"
    ) -> Reranker | None:
        """A re-ranker for `recommend`; arguments and errors as for `Rerankers.make`."""
        return self.rerankers.make(name, strength, similarity)

    def _reranker(self, rerank: RerankerName | Reranker, strength: float | None) -> Reranker | None:
        if not isinstance(rerank, Reranker):
            return self.reranker(rerank, strength)
        if strength is not None:
            raise ConfigError("this re-ranker has its strength; leave out strength")
        return rerank

    @cached_property
    def popularity(self) -> Tensor:
        """Training interactions of each item; 0 for items added after training. `[I]` int64"""
        return torch.from_numpy(self.run.training.counts(self.interactions.n_items))

    # -- training and files ------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        config: Config | None = None,
        *,
        out: str | Path | None = None,
        refit: bool = False,
        resume: bool = False,
        device: torch.device | None = None,
        progress: Progress | None = None,
        shared: str | Path | None = None,
        on_train: Callable[["Recommender"], None] | None = None,
        start: "Recommender | None" = None,
        overwrite: bool = False,
    ) -> "Recommender":
        """Train every stage. The processes of `accelerate launch` share the work and all return the same recommender.

        Raises a `DeftRecError` if `out` holds another run, nothing that could be resumed, or a run that another process
        trains; or the data cannot be split.

        Args:
            interactions: data.
            config: options; default: `Config()`, which adapts to the size of the data.
            out: run directory; None: nothing is written, and nothing can be resumed.
            refit: train again on train + validation, for the epochs that validation chose.
            resume: continue an interrupted run in `out`.
            device: device of the training; None: the first GPU, else the CPU.
            progress: receiver of progress.
            shared: folder of text and collaborative vectors, shared by runs with the same data, options and seed.
            on_train: called before a refit with the recommender fitted on train alone.
            start: recommender whose weights training continues from; its options are the default of `config`. Items and
                events that it got after its training join the data, and what was removed from it stays removed.
            overwrite: replace a run in `out`, which stays if the training fails before its first stage ends.
        """
        from deftrec.training.fit import fit_run  # a slow import, only where needed

        begun = None if start is None else WarmStart(start.run, start.overlay)
        run = fit_run(
            interactions,
            config or (Config() if start is None else start.config),
            folder=None if out is None else Path(out),
            refit=refit,
            resume=resume,
            device=device or default_device(),
            progress=progress,
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
        progress: Progress | None = None,
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
            device=device or self.catalogue.latents.device,
            progress=progress,
            overlay=self.overlay,
            overwrite=overwrite,
        )
        return type(self)(run, self.overlay, self.precision, self.runtime)

    def with_requests(self, *, out: str | Path | None = None, progress: Progress | None = None) -> "Recommender":
        """Learn to read requests in words, in a minute or two; the model and lists without a request stay as they are.

        Raises a `ConfigError` if the items have no words to ask for.

        Args:
            out: directory of this run, into which what was learnt is written; None: nothing is written.
            progress: receiver of progress.
        """
        from deftrec.training.requests import train_requests  # a slow import, only where needed

        term = train_requests(self.run, progress)
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
        folder = Path(directory)
        run = load_run(folder, device or default_device())
        return cls(run, read_overlay(folder, run.interactions), precision, runtime)

    # -- recommending ------------------------------------------------------------------------------------------

    def recommend(
        self,
        user: Id | None = None,
        *,
        history: Sequence[Id] | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        allow: Sequence[Id] | None = None,
        deny: Sequence[Id] = (),
        category: str | None = None,
        request: str | None = None,
        guidance: float = 1.0,
        rerank: RerankerName | Reranker = "none",
        strength: float | None = None,
        rules: Rules = (),
        offset: int = 0,
        seed: int | None = None,
        explain: bool = False,
    ) -> Recommendations:
        """The `k` best items for a known user, or after any history.

        Raises a `DataError` for an unknown user, item or category; and a `ConfigError` for neither or both of user and
        history, for k below 1, for a request that cannot be read, and for rules that this catalogue cannot have. Errors
        of a re-ranker are those of `Rerankers.make`.

        Args:
            user: user of the data, with the whole known history.
            history: items, oldest first; an empty history is answered by popularity.
            k: length of the list; shorter where rules or the catalogue leave fewer items.
            exclude_seen: exclude items of the history.
            allow: only these items; None: all items.
            deny: none of these items.
            category: only items of this category; None: all items.
            request: wish in words, such as "science fiction, nothing violent", for a run that has learnt to read them
                (`with_requests`); None: none.
            guidance: weight of the request, from 0 (none) to 8; 1 as learnt.
            rerank: order of the best 100 items: `none` (the score), `mmr`, `dpp`, `calibrated`, `auto`, or a re-ranker
                (`reranker`). The list after an empty history is not re-ranked.
            strength: strength of the re-ranking, 0 (the order of the score) or more; None: 0.5.
            rules: business rules, such as `{"boost": {"column": "category", "is": "Drama", "factor": 2}}`.
            offset: number of items before the list: the best `k` after them. Lists of one request never overlap.
            seed: seed of the sampling noise; None: `config.seed`.
            explain: add explanations, for which the model runs once for every item of the history, and what rules did.
        """
        if (user is None) == (history is None):
            raise ConfigError("give either a user or a history")
        _check_k(k, offset)
        if user is not None:
            histories = self.histories([self.interactions.user_number(user)])
        else:
            histories = Sequences.from_lists([self.interactions.item_numbers(history or [])])
        chosen = self.rules(
            exclude_seen=exclude_seen, allow=allow, deny=deny, category=category, rules=rules, timed=user is not None
        )
        wish = None if request is None else self.requests.read(request, guidance)
        chosen = (*chosen, *(() if wish is None else wish.rules))
        reranker = self._reranker(rerank, strength) or self.ranker.reranker
        items, page = histories[0].astype(np.int64), slice(offset, offset + k)
        if not len(items):
            return self.most_popular(page, chosen, wish, explain=explain)
        found = self.listed(
            self.ranker.scores(asked_with(self.queries(histories, seed), wish)),
            histories,
            page,
            (*self.ranker.rules, *chosen),
            explain=explain,
            reranker=reranker,
        )
        return self.explained(found, items, seed, wish) if explain and found else found

    def recommend_many(
        self,
        histories: Sequence[Sequence[Id]],
        *,
        k: int = 10,
        exclude_seen: bool = True,
        allow: Sequence[Id] | None = None,
        deny: Sequence[Id] = (),
        category: str | None = None,
        request: str | None = None,
        guidance: float = 1.0,
        rerank: RerankerName | Reranker = "none",
        strength: float | None = None,
        rules: Rules = (),
        offset: int = 0,
        seed: int | None = None,
    ) -> list[Recommendations]:
        """`recommend` for many histories at once, with the same results."""
        _check_k(k, offset)
        numbers = [self.interactions.item_numbers(history) for history in histories]
        chosen = self.rules(
            exclude_seen=exclude_seen, allow=allow, deny=deny, category=category, rules=rules, timed=False
        )
        page = slice(offset, offset + k)
        wish = None if request is None else self.requests.read(request, guidance)
        chosen = (*chosen, *(() if wish is None else wish.rules))
        reranker = self._reranker(rerank, strength)
        return self._lists(Sequences.from_lists(numbers), page, chosen, seed, wish, reranker) if numbers else []

    @cached_property
    def requests(self) -> RequestReader:
        """Reader of requests in words; a `ConfigError` if the run has not learnt to read them."""
        term = self.ranker.term_of(RequestTerm)
        if term is None:
            raise ConfigError(
                "this run has not learnt to read requests; in a minute or two it does: deftrec requests RUN"
            )
        return RequestReader(Lexicon(self.interactions), term, sentence_encoder(term.sentence_model))

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
        _check_k(count)
        rules = self.rules(exclude_seen=exclude_seen, allow=allow, deny=deny, category=category, timed=False)
        items = self.interactions.item_numbers(history)
        found: list[Recommendation] = []
        while len(found) < count:
            listed = Deny(torch.from_numpy(items[len(history) :]))
            [best] = self._lists(Sequences.from_lists([items]), slice(0, 1), (*rules, listed), seed)
            if not best:
                break
            found.append(replace(best[0], rank=len(found) + 1))
            items = np.append(items, self.interactions.item_numbers([best[0].item]))
        return Recommendations(found)

    def rules(
        self,
        *,
        exclude_seen: bool = True,
        allow: Sequence[Id] | None = None,
        deny: Sequence[Id] = (),
        category: str | None = None,
        rules: Rules = (),
        timed: bool = True,
    ) -> tuple[Rule, ...]:
        """Rules of a request, arguments and errors as for `recommend`; `timed`: whether histories have event times."""
        allowed = None if allow is None else self.interactions.item_numbers(allow)
        members = None if category is None else self.items_of(category)
        chosen = request_rules([allowed, members], self.interactions.item_numbers(deny), exclude_seen)
        return (*chosen, *build_rules(parse_rules(rules), self.columns, timed=timed))

    @cached_property
    def columns(self) -> ItemColumns:
        """The catalogue as rules see it."""
        return ItemColumns(self.interactions, self.popularity.numpy())

    def histories(self, users: Sequence[int] | np.ndarray) -> Sequences:
        """Known histories of users (by number), with event times where the data's times have a known unit."""
        sequences, days = self.interactions.sequences, self.interactions.days
        return (sequences if days is None else TimedSequences(sequences.items, sequences.offsets, days)).select(users)

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
        if category not in self.categories:
            near = difflib.get_close_matches(category, self.categories, n=1, cutoff=0.0)
            hint = f"; did you mean {near[0]!r}?" if near else "; the items have no categories"
            raise DataError(f"no item has the category {category!r}{hint}")
        return self.categories[category]

    def recommend_all(
        self,
        k: int = 10,
        *,
        users: range | None = None,
        exclude_seen: bool = True,
        rerank: RerankerName | Reranker = "none",
        strength: float | None = None,
        rules: Rules = (),
        seed: int | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Rankings of all `users` (a range of numbers; None: all) in frames of columns `user, item, rank, score`.

        Memory does not grow with users. Other arguments as for `recommend`. Unlike there, a reasoner's states are only
        read from its store, which `deftrec reason` fills; a missing one adds nothing to the condition. Scores of lists
        that a re-ranker ordered are null, so that readers of the rankings go by rank.
        """
        users = range(self.interactions.n_users) if users is None else users
        chosen, reranker = self.rules(exclude_seen=exclude_seen, rules=rules), self._reranker(rerank, strength)
        for start in range(users.start, users.stop, USERS_AT_ONCE):
            some = np.arange(start, min(start + USERS_AT_ONCE, users.stop))
            queries = self.queries(self.histories(some), seed, wait=False)
            found = self.ranker.search(queries, k, chosen, reranker)
            ids = self.interactions.users.gather(some)
            frame = ranking_frame(self.interactions, ids, found.items.cpu().numpy(), found.scores.cpu().numpy())
            yield frame if reranker is None else frame.with_columns(score=pl.lit(None, pl.Float64))

    def explained(
        self, found: Recommendations, history: np.ndarray, seed: int | None = None, wish: ReadRequest | None = None
    ) -> Recommendations:
        """The recommendations `found` after `history` (item numbers, one or more, oldest first) with explanations."""

        residuals = self.residuals([history])  # of the whole history: the language model reads it once

        def generate(histories: Sequences) -> Queries:
            own = None if residuals is None else residuals.expand(len(histories), -1, -1)
            return asked_with(self._generated(histories, seed, None, own), wish)

        ids, title = self.interactions.catalogue["item"], self.interactions.title
        numbers = self.interactions.item_numbers([one.item for one in found])
        said = None if self.run.reasoning is None else self.run.reasoning.statement(history)
        text = None if said is None else sentence(said)
        if self.model.has_rationale:
            [text] = generate_texts(self.model, self.catalogue, Sequences.from_lists([history]))
        explained = []
        for one, why in zip(found, reasons(self.ranker, generate, history, numbers.tolist()), strict=True):
            strongest = [(int(history[at]), change) for at, change in why.changes.items()][:INFLUENCES]
            influences = (Influence(ids[item], title(item), change) for item, change in strongest)
            explained.append(replace(one, explanation=Explanation(text, tuple(influences), why.shares)))
        return Recommendations(explained, found.notes, found.held_back)

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

    def similar(self, item: Id, k: int = 10) -> list[Recommendation]:
        """The `k` items whose latents have the largest cosine with that of `item`; a `DataError` if it is unknown."""
        _check_k(k)
        number = int(self.interactions.item_numbers([item])[0])
        unit = torch.nn.functional.normalize(self.catalogue.latents, dim=-1)
        scores = unit @ unit[number]
        scores[number] = float("-inf")
        scores[self.removed] = float("-inf")
        return self.describe(top(scores[None], k), "deftrec")[0]

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

    # -- evaluating --------------------------------------------------------------------------------------------

    def evaluate(self, split: Part = "test", seen: Seen = "exclude", parts: ScorePart = "hybrid") -> Result:
        """Metrics on the targets of a split of the training's data, every item of the catalogue ranked.

        Args:
            split: `validation` or `test`; a history is everything before its target.
            seen: `exclude` (default) or `keep` items of the history as candidates.
            parts: `hybrid` (default), the whole score; `latent` or `prior`, one part alone.
        """
        return self.examine(split, parts).result(seen, parts)

    def evaluate_parts(self, split: Part = "test", seen: Seen = "exclude") -> dict[ScorePart, Result]:
        """`evaluate` for the whole score and for each part that the run has; histories are read once."""
        return self.examine(split).results(seen)

    def examine(self, split: Part, parts: ScorePart = "hybrid", users: int | None = None) -> EvaluationCases:
        """The targets of a split with generated latents, as far as `parts` needs them.

        `users` limits them to so many random ones; None: all. Raises a `DataError` if nobody has a target in `split`.
        """
        cases = self._cases(split)
        if not len(cases):
            raise DataError(f"{self.interactions.meta.name}: no user has a {split} target, so nothing can be measured")
        if users is not None and users < len(cases):
            cases = cases.select(np.random.default_rng(0).permutation(len(cases))[:users])
        if parts == "prior":  # which reads no latents
            queries = Queries(cases.histories, self.catalogue.latents.new_zeros(len(cases), 1))
        else:
            queries = self.queries(cases.histories)
        items = self.rerankers.description
        return EvaluationCases(self.run, split, cases, queries, self.ranker, self.popularity, items)

    def _cases(self, split: Part) -> Cases:
        return make_split(self.fitted_on, self.config.data.split).cases(split)

    # -- inside ------------------------------------------------------------------------------------------------

    def queries(
        self, histories: Sequences, seed: int | None = None, samples: int | None = None, *, wait: bool | None = None
    ) -> Queries:
        """Generate latents of the next item for histories of item numbers, oldest first, none of them empty.

        The result is the mean over `samples` draws of noise; None: as configured. `wait` as for `residuals`.
        """
        return self._generated(histories, seed, samples, self.residuals(list(histories), wait=wait))

    def residuals(self, histories: Sequence[np.ndarray], *, wait: bool | None = None) -> Tensor | None:
        """What the reasoner adds to the conditions after histories of item numbers. `[N, M, d]`; None: nothing.

        `wait` decides whether missing states are computed at once; None: the reasoner's attribute `wait`, which is true
        except in the service.
        """
        reasoning = self.run.reasoning
        return None if reasoning is None else reasoning.residuals(histories, wait=wait)

    def _generated(
        self, histories: Sequences, seed: int | None, samples: int | None, residuals: Tensor | None
    ) -> Queries:
        sampling = Sampling.of(self.config.diffusion)
        if samples is not None:
            sampling = replace(sampling, samples=samples)
        seed = self.config.seed if seed is None else seed
        if self.fast is not None:
            return inference_queries(self.fast, histories, sampling=sampling, seed=seed, residuals=residuals)
        return generate_queries(
            self.model, self.catalogue, histories, sampling=sampling, seed=seed, residuals=residuals
        )

    def _lists(
        self,
        histories: Sequences,
        page: slice,
        rules: Sequence[Rule],
        seed: int | None,
        wish: ReadRequest | None = None,
        reranker: Reranker | None = None,
    ) -> list[Recommendations]:
        lists = [Recommendations()] * len(histories)
        known = np.flatnonzero(histories.lengths > 0)
        if len(known):
            queries = asked_with(self.queries(histories.select(known), seed), wish)
            found = self.ranker.search(queries, page.stop, rules, reranker)
            told = (*self.ranker.rules, *rules)
            for n, one, items in zip(known, self.describe(found, "deftrec"), found.items.tolist(), strict=True):
                lists[n] = Recommendations(one[page], _notes(items, told))
        if len(known) < len(histories):
            popular = self.most_popular(page, rules, wish)
            for n in np.flatnonzero(histories.lengths == 0):
                lists[n] = popular
        return lists

    def most_popular(
        self, page: slice, rules: Sequence[Rule] = (), wish: ReadRequest | None = None, *, explain: bool = False
    ) -> Recommendations:
        """The items with most training interactions at the places `page`, for an empty history.

        Rules that multiply a probability multiply the number of interactions, 0 counting as a half; a `wish`, whose
        exclusions are among the `rules`, does too.
        """
        nobody = Sequences.from_lists([np.zeros(0, np.int32)])
        logits = self.popularity.double().clamp_min(0.5).log()[None]
        term = self.ranker.term_of(RequestTerm)
        if wish is not None and term is not None:
            logits = logits + term.of_request(wish.encoded).double().cpu()
        found = self.listed(logits, nobody, page, (*self.ranker.rules, *rules), "popularity", explain=explain)
        numbers = self.interactions.item_numbers([one.item for one in found])
        counted = (replace(one, score=float(count)) for one, count in zip(found, self.popularity[numbers], strict=True))
        return Recommendations(counted, found.notes, found.held_back)

    def listed(
        self,
        scores: Tensor,
        histories: Sequences,
        page: slice,
        rules: Sequence[Rule],
        source: Source = "deftrec",
        *,
        explain: bool = False,
        reranker: Reranker | None = None,
    ) -> Recommendations:
        """One list of the places `page` from scores of all items `[1, I]`, which stay as they are.

        Args:
            scores: scores before `rules`.
            histories: the one history.
            page: places, from 0.
            rules: all rules.
            source: source of the scores.
            explain: say what rules did to each item, and which items they held back.
            reranker: re-ranker; None: none.
        """
        found = make_lists(scores.clone(), histories, page.stop, rules, reranker)
        [items], [one] = found.items.tolist(), self.describe(found, source)
        ids, title, one = self.interactions.catalogue["item"], self.interactions.title, one[page]
        if not explain:
            return Recommendations(one, _notes(items, rules))
        effects = rule_effects(scores, histories, page, rules, reranker)
        described = [replace(each, rules=done) for each, done in zip(one, effects.done.values(), strict=True)]
        held_back = (HeldBack(ids[item], title(item), why) for item, why in effects.held_back.items())
        return Recommendations(described, _notes(items, rules), tuple(held_back))

    def describe(self, found: Found, source: Source) -> list[list[Recommendation]]:
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


def asked_with(queries: Queries, wish: ReadRequest | None) -> Queries:
    """The queries, each with the same request."""
    return queries if wish is None else queries.with_requests([wish.encoded] * len(queries))


def _check_k(k: int, offset: int = 0) -> None:
    if k < 1:
        raise ConfigError(f"k is {k}; ask for 1 item or more")
    if offset < 0:
        raise ConfigError(f"offset is {offset}; give 0 or the number of items before the list")


def _notes(items: list[int], rules: Sequence[Rule]) -> tuple[str, ...]:
    """Notes on a list of item numbers with `PADDING` at its end."""
    return list_notes([item for item in items if item != PADDING], len(items), rules)
