"""Ways to get from histories to lists, each as fast as this codebase makes it, with weights that nobody trained.

How long an answer takes does not depend on what was learnt.
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
from deftrec.retrieval import Found, Retriever, generate_queries, hide, inference_queries, top
from deftrec.retrieval.queries import batches
from deftrec.tokenizer import ItemFeatures

SASREC_BLOCKS = 2
DREAMREC = Sampling("ddpm", steps=500, samples=1, guidance_scale=2.0)
AUTHORS = Sampling("ddpm", steps=100, samples=1, guidance_scale=0.0)
AUTHORS_WORDS = 32
NEVER = -2
"""No word piece: with it as the end, nobody stops before the last word."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What all systems share.

    Attributes:
        config: of DeftRec, one member, no option `auto`.
        interactions: whose catalogue it is.
        features: of its items, as wide as the recipe's; drawn at random.
        k: items of a list.
        dtype: of reading histories.
        device: where.
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
    """Gives everybody a list.

    Attributes:
        name: of the row.
        says: what it does, in a line.
    """

    name: ClassVar[str]
    says: ClassVar[str]

    @abstractmethod
    def __init__(self, setting: Setting) -> None: ...

    @abstractmethod
    def recommend(self, histories: Sequences) -> Found:
        """The best items of each history, without those of the history itself."""


class OneStep(System):
    """DeftRec as `Recommender` asks it, without the linear prior."""

    name, says = "deftrec", "the recipe's sampling, exact retrieval"

    def __init__(self, setting: Setting) -> None:
        self.k, self.sampling = setting.k, Sampling.of(setting.config.diffusion)
        model = setting.model(self.configured(setting.config))
        catalogue = model.encode_catalogue()
        self.fast = InferenceModel(model, catalogue, setting.dtype)
        self.retriever = Retriever.of(model, catalogue, setting.config)

    def configured(self, config: Config) -> Config:
        """What is built."""
        return config

    def recommend(self, histories: Sequences) -> Found:
        """See `System.recommend`."""
        queries = inference_queries(self.fast, histories, sampling=self.sampling, seed=0)
        return self.retriever.search(queries, histories, self.k, exclude_seen=True)


class Plain(System):
    """DeftRec by its reference: in float32, every place of every history answered."""

    name, says = "deftrec plainly", "the same in fp32 without any fast path: the reference"

    def __init__(self, setting: Setting) -> None:
        self.k, self.sampling = setting.k, Sampling.of(setting.config.diffusion)
        self.model = setting.model(setting.config)
        self.catalogue = self.model.encode_catalogue()
        self.retriever = Retriever.of(self.model, self.catalogue, setting.config)

    def recommend(self, histories: Sequences) -> Found:
        """See `System.recommend`."""
        queries = generate_queries(self.model, self.catalogue, histories, sampling=self.sampling, seed=0)
        return self.retriever.search(queries, histories, self.k, exclude_seen=True)


class SasRec(System):
    """A small causal transformer over item embeddings, scored by their products (Kang and McAuley 2018)."""

    name, says = "sasrec", f"{SASREC_BLOCKS} blocks of the same width over item embeddings, no prompt, no denoising"

    def __init__(self, setting: Setting) -> None:
        self.k, self.max_history, self.device = setting.k, int(setting.config.data.max_history), setting.device
        width = setting.language(setting.config, 1, 1).width
        options = NanoOptions(width=width, layers=SASREC_BLOCKS, heads=2, dropout=0.0)
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
        return top(hide(hidden @ self.items.T, histories), self.k)


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
    """The published procedure: the language model words a preference, many steps, every user's distances on its own.

    Words need a model that writes: for recipes with `nano` it is the packaged MiniLM, as in the recipe of that name.
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
        for n, query in enumerate(queries):
            distances = torch.linalg.vector_norm(self.catalogue.latents - query, dim=-1)
            lists.append(top(hide(-distances[None], histories.select([n])), self.k))
        return Found.concatenate(lists)


def guided(config: Config) -> DiffusionOptions:
    """A diffusion head that has learnt an empty condition."""
    return config.diffusion.model_copy(update={"condition_dropout": 0.1})


def by_batch(
    max_history: int,
    histories: Sequences,
    device: torch.device,
    answer: Callable[[Tensor, Tensor, Sequences], Found],
    places: int | None = None,
) -> Found:
    """What `answer` finds for batches of items, lengths and histories, in the order of `histories`."""
    order, parts = [], []
    for which, items, layout in batches(max_history, histories, device, places):
        order.append(torch.from_numpy(which).to(device))
        parts.append(answer(items, (layout.segments != PADDING).sum(1), histories.select(which)))
    found, back = Found.concatenate(parts), torch.cat(order).argsort()
    return Found(found.items[back], found.scores[back])
