"""Fit, recommend, similar, evaluate, save, load: what users of the library import."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from deftrec.config import Config
from deftrec.data import Id, Interactions, Part, Sequences, make_split
from deftrec.data.sequences import pad_histories
from deftrec.diffusion import Sampling
from deftrec.errors import ConfigError, DataError
from deftrec.evaluation import Result, Seen, ranking_frame
from deftrec.evaluation_cases import EvaluationCases
from deftrec.explanation import Queries, reasons
from deftrec.fitting import fit_run
from deftrec.hardware import Precision, Runtime, default_device, inference_dtype
from deftrec.incremental import Capabilities, Overlay, current_state, read_overlay, write_overlay
from deftrec.inference import InferenceModel
from deftrec.language import Layout, TextEngine
from deftrec.progress import Progress
from deftrec.recommendation import Explanation, Mover, Recommendation, Source
from deftrec.retrieval import Found, Retriever, ScorePart, generate_queries, generate_texts, inference_queries, top
from deftrec.run import Request, Run, begin_run, load_run, save_run

USERS_AT_ONCE = 4096
MOVERS = 3
"""Items of the history that an explanation names."""


class Recommender:
    """A trained DeftRec with its data: ids of the user's own go in and come out.

    Use `Recommender.fit` or `Recommender.load`.

    Args:
        run: the run.
        overlay: what came after its training.
        precision: of reading histories; `auto` is bf16 where this machine multiplies it faster, fp32 the reference.
        runtime: what runs a pre-trained language model; `openvino` (the extra of that name) is faster on a CPU. What it
            cannot run is refused with the first question.
    """

    def __init__(
        self,
        run: Run,
        overlay: Overlay | None = None,
        precision: Precision = "fp32",
        runtime: Runtime = "torch",
    ) -> None:
        run.model.eval()
        self.precision: Precision = precision
        self.runtime: Runtime = runtime
        self.run, self.overlay, self.config, self.info = run, overlay, run.config, run.info
        known = current_state(run, overlay)
        self.interactions, self.model = known.interactions, known.model
        self.catalogue = self.model.encode_catalogue()
        prior, choice, text, exposure = run.prior, run.info.prior, run.info.text, run.info.exposure
        new = self.interactions.n_items > run.interactions.n_items
        self.prior = prior.with_items(self.catalogue.latents) if prior is not None and new else prior
        latent = Retriever.of(self.model, self.catalogue, self.config)
        self.retriever = replace(
            latent,
            prior=self.prior,
            weight=choice.weight if choice and prior else 0.0,
            recency=choice.recency if choice else 0.0,
            trend=run.trend,
            again=run.info.again.value if run.info.again else latent.again,
            match=known.match,
            text_weight=text.weight if text and run.match else 0.0,
            removed=known.removed,
            bonus=exposure.bonus * (1 - known.confidence) if exposure and exposure.bonus and new else None,
        )

    def with_overlay(self, overlay: Overlay | None) -> "Recommender":
        """The same run with what came after its training, instead of what came so far; every weight is shared."""
        return Recommender(self.run, overlay, self.precision, self.runtime)

    @property
    def fitted_on(self) -> Interactions:
        """The data of the training, whose targets `evaluate` asks for. `interactions` holds what came later too."""
        return self.run.interactions

    @cached_property
    def capabilities(self) -> Capabilities:
        """What this run can do with users, items and words that it has never seen."""
        return Capabilities.of(self.config, self.info, self.run.scaling is not None)

    @cached_property
    def fast(self) -> InferenceModel | None:
        """The model as it reads histories here; None where nothing is faster than the plain one.

        Raises:
            MissingExtraError, ConfigError: the runtime is not installed, or cannot run this model.
        """
        if not InferenceModel.suits(self.model):
            if self.runtime != "torch":
                raise ConfigError(
                    f"runtime {self.runtime} reads histories alone, and this run's model reads titles, words its own "
                    "condition, or keeps no keys and values: leave runtime at torch"
                )
            return None
        dtype = inference_dtype(self.precision, self.catalogue.latents.device)
        return InferenceModel(self.model, self.catalogue, dtype, self.runtime)

    @cached_property
    def popularity(self) -> Tensor:
        """How often each item was taken in what the weights were fitted on; 0 for items that came later. `[I]` int64"""
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
    ) -> "Recommender":
        """Train every stage. Under `accelerate launch` its processes share the work and all return the same.

        Args:
            interactions: the data.
            config: the options; the default adapts to the size of the data.
            out: run directory; without one nothing is written and nothing can be resumed.
            refit: train once more on train + validation, for the epochs that validation chose.
            resume: go on with an interrupted run in `out`.
            device: where to train; None: the first GPU, else the CPU.
            progress: who is told.
            shared: folder of text and collaborative vectors that runs with the same data, options and seed share.
            on_train: called, where there is a refit, with the recommender fitted on train alone that it replaces.
            start: go on from its weights (`config.fine_tuning`), by default with its options.

        Raises:
            DeftRecError: `out` holds another run, nothing that could be resumed, or one that another process trains;
                the data cannot be split.
        """
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
            start=None if start is None else start.run,
        )
        return cls(run)

    def save(self, directory: str | Path) -> None:
        """Write a run directory that `load` reads.

        Raises:
            DeftRecError: the directory is not empty.
        """
        folder = Path(directory)
        request = Request(
            config=self.config,
            fingerprint=self.info.fingerprint,
            refit=self.info.fit == "train+validation",
            start=self.info.start,
        )
        begin_run(folder, request, self.fitted_on, resume=False)
        if self.overlay is not None and self.overlay.version:
            write_overlay(folder, self.overlay)
        save_run(folder, self.run)

    @classmethod
    def load(
        cls,
        directory: str | Path,
        device: torch.device | None = None,
        precision: Precision = "fp32",
        runtime: Runtime = "torch",
    ) -> "Recommender":
        """Read a run directory, with what came to it after training; `precision` and `runtime` as for the class.

        Raises:
            DeftRecError: it is missing, unfinished or damaged.
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
        seed: int | None = None,
        explain: bool = False,
    ) -> list[Recommendation]:
        """The `k` best items for a known user, or after any history.

        Args:
            user: a user of the data; everything known of them counts.
            history: items, oldest first; an empty one is answered by popularity.
            k: length of the list, shorter where the catalogue ends.
            exclude_seen: leave out items of the history.
            seed: of the sampling noise; None: the configuration's.
            explain: say why; this asks the model once for every item of the history.

        Raises:
            DataError: unknown user or item.
            ConfigError: neither or both of user and history, or k below 1.
        """
        if (user is None) == (history is None):
            raise ConfigError("give either a user or a history")
        if user is not None:
            items = self.interactions.sequences[self.interactions.user_number(user)].astype(np.int64)
        else:
            items = self.interactions.item_numbers(history or [])
        [found] = self._lists(Sequences.from_lists([items]), k, exclude_seen, seed)
        return self.explained(found, items, seed) if explain and len(items) and found else found

    def recommend_many(
        self,
        histories: Sequence[Sequence[Id]],
        *,
        k: int = 10,
        exclude_seen: bool = True,
        seed: int | None = None,
    ) -> list[list[Recommendation]]:
        """`recommend` for many histories at once, with the same results."""
        numbers = [self.interactions.item_numbers(history) for history in histories]
        return self._lists(Sequences.from_lists(numbers), k, exclude_seen, seed) if numbers else []

    def recommend_all(
        self, k: int = 10, *, users: range | None = None, exclude_seen: bool = True, seed: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """Rankings of all users in frames of columns `user, item, rank, score`; memory does not grow with users.

        Args:
            k: length of a list.
            users: numbers of the users who are asked for, one after the other; None: everybody.
            exclude_seen, seed: see `recommend`.
        """
        sequences = self.interactions.sequences
        users = range(len(sequences)) if users is None else users
        for start in range(users.start, users.stop, USERS_AT_ONCE):
            some = np.arange(start, min(start + USERS_AT_ONCE, users.stop))
            found = self._search(sequences.select(some), k, exclude_seen, seed)
            ids = self.interactions.users.gather(some)
            yield ranking_frame(self.interactions, ids, found.items.cpu().numpy(), found.scores.cpu().numpy())

    def explained(
        self, found: list[Recommendation], history: np.ndarray, seed: int | None = None
    ) -> list[Recommendation]:
        """The same recommendations with their explanations.

        Args:
            found: one or more, of this recommender.
            history: item numbers, oldest first, one or more.
            seed: of the sampling noise; None: the configuration's.
        """

        def ask(histories: Sequences) -> Queries:
            return self.ask(histories, seed)

        ids = self.interactions.catalogue["item"]
        numbers = self.interactions.item_numbers([one.item for one in found])
        text = None
        if self.model.has_rationale:
            [text] = generate_texts(self.model, self.catalogue, Sequences.from_lists([history]))
        return [
            replace(
                one,
                explanation=Explanation(
                    text,
                    tuple(
                        Mover(ids[mover.item], self.interactions.title(mover.item), mover.change)
                        for mover in why.influences[:MOVERS]
                    ),
                    why.shares,
                ),
            )
            for one, why in zip(found, reasons(self.retriever, ask, history, numbers.tolist()), strict=True)
        ]

    def preferences(self, histories: Sequence[Sequence[Id]], engine: TextEngine | None = None) -> list[str]:
        """The preference that each history shows, in the model's words.

        Args:
            histories: items, oldest first.
            engine: generates in the model's place, for many users on a GPU (`deftrec.language.VllmEngine`).

        Raises:
            ConfigError: the run has learnt no words, or a history is empty.
            DataError: unknown item.
        """
        if not all(histories):
            raise ConfigError("an empty history shows no preference; give one item or more")
        numbers = Sequences.from_lists([self.interactions.item_numbers(history) for history in histories])
        return generate_texts(self.model, self.catalogue, numbers, engine=engine)

    def similar(self, item: Id, k: int = 10) -> list[Recommendation]:
        """The `k` items whose latents have the largest cosine with that of `item`.

        Raises:
            DataError: unknown item.
        """
        _check_k(k)
        number = int(self.interactions.item_numbers([item])[0])
        unit = torch.nn.functional.normalize(self.catalogue.latents, dim=-1)
        scores = unit @ unit[number]
        scores[number] = float("-inf")
        scores[self.retriever.removed] = float("-inf")
        return self.describe(top(scores[None], k), "deftrec")[0]

    def denoising_path(self, history: Sequence[Id], steps: int = 20, seed: int = 0) -> Tensor:
        """The denoised latent after every step from a draw of noise, for plots. `[steps, D]`"""
        numbers = Sequences.from_lists([self.interactions.item_numbers(history)])
        packed = pad_histories(numbers, np.zeros(1, np.int64), self.model.max_history)
        device = self.catalogue.latents.device
        layout = Layout.of(packed).to(device)
        sampling = replace(Sampling.of(self.config.diffusion), steps=steps, samples=1)
        generator = torch.Generator(device).manual_seed(seed)
        items = torch.from_numpy(packed.items).to(device)
        sample = self.model.generate(self.catalogue, items, layout, sampling, generator, keep_path=True)
        assert sample.path is not None
        return sample.path[:, 0].cpu()

    # -- evaluating --------------------------------------------------------------------------------------------

    def evaluate(self, split: Part = "test", seen: Seen = "exclude", parts: ScorePart = "hybrid") -> Result:
        """Metrics on the targets of `split` of the training's data, every item of the catalogue ranked.

        Args:
            split: `validation` or `test`; histories are everything before the target.
            seen: whether items of the history are candidates.
            parts: the whole retrieval score, or the latent or the prior alone.
        """
        return self.examine(split, parts).result(seen, parts)

    def evaluate_parts(self, split: Part = "test", seen: Seen = "exclude") -> dict[ScorePart, Result]:
        """`evaluate` of the whole score and of each part that the run has; the histories are read once."""
        return self.examine(split).results(seen)

    def examine(self, split: Part, parts: ScorePart = "hybrid") -> EvaluationCases:
        """The targets of `split` and what the model generates for each, as far as `parts` needs it.

        Raises:
            DataError: nobody has a target in `split`.
        """
        cases = make_split(self.fitted_on, self.config.data.split).cases(split)
        if not len(cases):
            raise DataError(f"{self.interactions.meta.name}: no user has a {split} target, so nothing can be measured")
        if parts == "prior":
            nothing = self.catalogue.latents.new_zeros(len(cases), self.catalogue.latents.shape[1])
            asked = Queries(cases.histories, nothing, None)
        else:
            texts = self._texts(cases.histories) if parts == "hybrid" else None
            asked = Queries(cases.histories, self._queries(cases.histories, None), texts)
        return EvaluationCases(self.run, split, cases, asked, self.retriever, self.popularity)

    # -- inside ------------------------------------------------------------------------------------------------

    def _queries(self, histories: Sequences, seed: int | None, samples: int | None = None) -> Tensor:
        sampling = Sampling.of(self.config.diffusion)
        if samples is not None:
            sampling = replace(sampling, samples=samples)
        seed = self.config.seed if seed is None else seed
        if self.fast is not None:
            return inference_queries(self.fast, histories, sampling=sampling, seed=seed)
        return generate_queries(self.model, self.catalogue, histories, sampling=sampling, seed=seed)

    def _search(self, histories: Sequences, k: int, exclude_seen: bool, seed: int | None) -> Found:
        asked = self.ask(histories, seed)
        return self.retriever.search(asked.queries, histories, k, exclude_seen, asked.texts)

    def ask(self, histories: Sequences, seed: int | None = None, samples: int | None = None) -> Queries:
        """What the model generates for histories of item numbers, none of them empty.

        Args:
            histories: item numbers.
            seed: of the sampling noise; None: the configuration's.
            samples: start at so many draws of noise and take their mean; None: sample as configured.
        """
        return Queries(histories, self._queries(histories, seed, samples), self._texts(histories))

    def _texts(self, histories: Sequences) -> Tensor | None:
        """What the model says of each history, encoded; None where words do not enter the score."""
        match = self.retriever.match
        return None if match is None else match.encode(generate_texts(self.model, self.catalogue, histories))

    def _lists(self, histories: Sequences, k: int, exclude_seen: bool, seed: int | None) -> list[list[Recommendation]]:
        _check_k(k)
        lists: list[list[Recommendation]] = [[] for _ in range(len(histories))]
        known = np.flatnonzero(histories.lengths > 0)
        if len(known):
            found = self._search(histories.select(known), k, exclude_seen, seed)
            for n, one in zip(known, self.describe(found, "deftrec"), strict=True):
                lists[n] = one
        if len(known) < len(histories):
            scores = self.popularity.float()
            scores[self.retriever.removed] = float("-inf")
            popular = self.describe(top(scores[None], k), "popularity")[0]
            for n in np.flatnonzero(histories.lengths == 0):
                lists[n] = popular
        return lists

    def describe(self, found: Found, source: Source) -> list[list[Recommendation]]:
        """What was found, under ids and titles of the user's own: a list a row, without places that hold no item."""
        ids = self.interactions.catalogue["item"]
        return [
            [
                Recommendation(ids[item], self.interactions.title(item), score, rank, source)
                for rank, (item, score) in enumerate(zip(items, scores, strict=True), start=1)
                if item >= 0
            ]
            for items, scores in zip(found.items.tolist(), found.scores.tolist(), strict=True)
        ]


def _check_k(k: int) -> None:
    if k < 1:
        raise ConfigError(f"k is {k}; ask for 1 item or more")
