"""Systems that are timed: each turns histories into lists, as fast as this codebase makes it.

Weights are random, because the time of an answer does not depend on them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from deftrec.config import Config, DiffusionOptions, NanoOptions, PretrainedOptions, ReasoningOptions
from deftrec.data import PADDING, Interactions, Sequences
from deftrec.diffusion import Sampling
from deftrec.ensemble import build_member
from deftrec.inference import InferenceModel, reader_of
from deftrec.language import LanguageModel, build_language_model
from deftrec.model import DeftRec
from deftrec.retrieval import ExcludeHistory, Found, generate_queries, inference_queries, latent_ranker, top
from deftrec.retrieval.queries import batches
from deftrec.tensors import joined
from deftrec.tokenizer import ItemFeatures

SASREC_BLOCKS = 2
DREAMREC = Sampling("ddpm", steps=500, samples=1, guidance_scale=2.0)
AUTHORS = Sampling("ddpm", steps=100, samples=1, guidance_scale=0.0)
AUTHORS_WORDS = 32
NEVER = -2
"""Number of no token: with it as the end, every text has the full length."""


@dataclass(frozen=True, eq=False)
class Setting:
    """Setting that all systems share.

    Attributes:
        config: options of DeftRec, one member, no option `auto`.
        interactions: data whose catalogue is ranked.
        features: item features of the recipe's width, drawn at random.
        k: length of a list.
        dtype: type of the matrix products that read histories.
        device: device of all systems.
    """

    config: Config
    interactions: Interactions
    features: ItemFeatures
    k: int
    dtype: torch.dtype
    device: torch.device

    def model(self, config: Config) -> DeftRec:
        """An untrained DeftRec."""
        model = build_member(self.features, config, self.interactions.meta.domain)
        return model.to(self.device).requires_grad_(False).eval()

    def language(self, config: Config, ways: int, max_history: int) -> LanguageModel:
        """An untrained language model, or the pre-trained one as it is."""
        domain = self.interactions.meta.domain
        language = build_language_model(config.language, domain=domain, ways=ways, max_history=max_history)
        return language.to(self.device).requires_grad_(False).eval()


class System(ABC):
    """A way to recommend.

    Attributes:
        name: name of the row.
        says: description in a line.
    """

    name: ClassVar[str]
    says: ClassVar[str]

    @abstractmethod
    def __init__(self, setting: Setting) -> None: ...

    @abstractmethod
    def recommend(self, histories: Sequences) -> Found:
        """The best items of each history, without those of the history itself."""


class OneStep(System):
    """DeftRec as `Recommender` runs it, latent term alone."""

    name, says = "deftrec", "the recipe's sampling, exact retrieval"

    def __init__(self, setting: Setting) -> None:
        self.k, self.sampling = setting.k, Sampling.of(setting.config.diffusion)
        model = setting.model(self.configured(setting.config))
        catalogue = model.encode_catalogue()
        self.fast = InferenceModel(model, catalogue, setting.dtype)
        self.ranker = latent_ranker(catalogue, setting.config)

    def configured(self, config: Config) -> Config:
        """Options of the model."""
        return config

    def recommend(self, histories: Sequences) -> Found:
        """See `System.recommend`."""
        queries = inference_queries(self.fast, histories, sampling=self.sampling, seed=0)
        return self.ranker.search(queries, self.k, (ExcludeHistory(),))


class Plain(System):
    """DeftRec by its reference in float32, which evaluates every position of every history."""

    name, says = "deftrec plainly", "the same in fp32 without any fast path: the reference"

    def __init__(self, setting: Setting) -> None:
        self.k, self.sampling = setting.k, Sampling.of(setting.config.diffusion)
        self.model = setting.model(setting.config)
        self.catalogue = self.model.encode_catalogue()
        self.ranker = latent_ranker(self.catalogue, setting.config)

    def recommend(self, histories: Sequences) -> Found:
        """See `System.recommend`."""
        queries = generate_queries(self.model, self.catalogue, histories, sampling=self.sampling, seed=0)
        return self.ranker.search(queries, self.k, (ExcludeHistory(),))


class SasRec(System):
    """A small causal transformer over item embeddings, scored by their products (Kang and McAuley 2018)."""

    name, says = "sasrec", f"{SASREC_BLOCKS} blocks of the same width over item embeddings, no prompt, no denoising"

    def __init__(self, setting: Setting) -> None:
        self.k, self.max_history, self.device = setting.k, int(setting.config.data.max_history), setting.device
        width = setting.language(setting.config, 1, 1).width
        options = NanoOptions(width=width, layers=SASREC_BLOCKS, dropout=0.0)
        language = setting.language(setting.config.model_copy(update={"language": options}), 1, self.max_history)
        self.reader = reader_of(language, setting.dtype)
        self.items = torch.randn(setting.interactions.n_items, width, device=self.device)

    @torch.no_grad()
    def recommend(self, histories: Sequences) -> Found:
        """See `System.recommend`."""
        return by_batch(self.max_history, histories, self.device, self._list)

    def _list(self, items: Tensor, lengths: Tensor, histories: Sequences) -> Found:
        past = self.reader.begin(len(items))
        hidden = self.reader.read(self.items[items.clamp_min(0)], lengths - 1, past)
        return best(hidden @ self.items.T, histories, self.k)


class DreamRec(OneStep):
    """Diffusion as it was first done (Yang et al. 2023): many steps from noise, guided, which asks twice a step."""

    name = "dreamrec"
    says = f"{DREAMREC.steps} DDPM steps from noise with guidance {DREAMREC.guidance_scale:g}, the same backbone"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.sampling = DREAMREC

    def configured(self, config: Config) -> Config:
        """See `OneStep.configured`."""
        return config.model_copy(update={"diffusion": guided(config)})


class Authors(System):
    """The published procedure: a generated preference, many steps, distances computed user by user.

    Recipes with `nano`, which generates no text, get the packaged MiniLM.
    """

    name = "authors' procedure"
    says = f"{AUTHORS_WORDS} generated tokens, {AUTHORS.steps} DDPM steps from noise, distances user by user"

    def __init__(self, setting: Setting) -> None:
        self.k = setting.k
        reasoning = ReasoningOptions(weight=0.1, max_tokens=AUTHORS_WORDS)
        options = setting.config.language
        options = options if isinstance(options, PretrainedOptions) else PretrainedOptions()
        language = options.model_copy(update={"condition": "reasoning", "reasoning": reasoning})
        self.model = setting.model(setting.config.model_copy(update={"language": language}))
        self.model.language.end = NEVER  # type: ignore[assignment]
        self.catalogue = self.model.encode_catalogue()
        self.dtype = setting.dtype

    @torch.no_grad()
    def recommend(self, histories: Sequences) -> Found:
        """See `System.recommend`."""
        queries = generate_queries(self.model, self.catalogue, histories, sampling=AUTHORS, seed=0, dtype=self.dtype)
        lists = []
        for n, latent in enumerate(queries.latents):
            distances = torch.linalg.vector_norm(self.catalogue.latents - latent, dim=-1)
            lists.append(best(-distances[None], histories.select([n]), self.k))
        return joined(lists)


def guided(config: Config) -> DiffusionOptions:
    """Options of a diffusion head with an unconditional answer, which guidance needs."""
    return config.diffusion.model_copy(update={"condition_dropout": 0.1})


def best(scores: Tensor, histories: Sequences, k: int) -> Found:
    """The `k` best items of each row that are not in its history. `scores` `[N, I]`, which are changed."""
    ExcludeHistory().apply(scores, histories)
    return top(scores, k)


def by_batch(
    max_history: int,
    histories: Sequences,
    device: torch.device,
    answer: Callable[[Tensor, Tensor, Sequences], Found],
    places: int | None = None,
) -> Found:
    """Lists of `answer`, called with batches of items, lengths and histories, in the order of `histories`."""
    order, parts = [], []
    for which, items, layout in batches(max_history, histories, device, places):
        order.append(torch.from_numpy(which).to(device))
        parts.append(answer(items, (layout.segments != PADDING).sum(1), histories.select(which)))
    found, back = joined(parts), torch.cat(order).argsort()
    return Found(found.items[back], found.scores[back])
