"""The run or recipe to examine, with the sizes its costs depend on, and a DeftRec of it on the `meta` device.

There a model has shapes without values.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from deftrec.attributes import attributes_width, fit_attributes
from deftrec.config import Config, NanoOptions, PretrainedOptions
from deftrec.data import Interactions, make_split
from deftrec.data.words import texts_of
from deftrec.errors import ConfigError
from deftrec.language import LanguageModel, Layout, build_language_model
from deftrec.language.pretrained import PretrainedLanguageModel
from deftrec.model import DeftRec, ItemLatents
from deftrec.pretrained_files.architecture import Architecture, architecture_of, has_tokenizer, hidden_size
from deftrec.recipe import load_recipe, with_events
from deftrec.recipe import resolve as resolve_sizes
from deftrec.run import read_records
from deftrec.sizes import Sizes
from deftrec.tokenizer import ItemFeatures
from deftrec.training.fit import resolve

META = torch.device("meta")

ITEMS = 10_000
HISTORY = 20
"""Default size of the catalogue, and interactions per user. There are as many users as items."""


@dataclass(frozen=True)
class Subject:
    """A configuration with the sizes that decide its costs.

    Attributes:
        name: name of the run or the recipe.
        config, items: resolved options, and size of the catalogue.
        collaborative_width, text_width, attributes_width: columns of the item features.
        domain: kind of the items in a word, for the prompt.
        assumed: assumptions, in words.
    """

    name: str
    config: Config
    items: int
    collaborative_width: int
    text_width: int
    domain: str = "items"
    assumed: tuple[str, ...] = ()
    attributes_width: int = 0


def subject_of(
    name: str, *, items: int | None = None, data: Path | None = None, overrides: list[str] | None = None
) -> Subject:
    """The run in the folder `name`, or the recipe of that name or path.

    Args:
        items: size of the catalogue instead of the data's own.
        data: data directory for a recipe.
        overrides: `a.b=c` overrides of a recipe.

    Raises:
        ConfigError: no such run or recipe; a run has its data and options already.
        DeftRecError: a file of the run is damaged.
    """
    folder = Path(name)
    if (folder / "config.json").is_file():
        if data is not None or overrides:
            raise ConfigError(f"{folder}: a run has its own data and options; leave out `data=...` and `overrides=...`")
        config, info = read_records(folder)
        found = Interactions.load(folder / "data")
        collaborative, read, described = info.widths
        count, domain = items or found.n_items, found.meta.domain
        return Subject(str(folder), config, count, collaborative, read, domain, attributes_width=described)
    if folder.is_dir():
        raise ConfigError(f"{folder}: no config.json; give the directory of a run, or a recipe")
    return _recipe(name, items, data, overrides)


def _recipe(name: str, items: int | None, data: Path | None, overrides: list[str] | None) -> Subject:
    config = load_recipe(name, overrides)
    assumed: tuple[str, ...] = ()
    if data is not None:
        config, interactions = with_events(config, Interactions.load(data))
        config = resolve(config, interactions, make_split(interactions, config.data.split))
        text = any(texts_of(interactions.catalogue))
        count, domain = interactions.n_items, interactions.meta.domain
        described = attributes_width(fit_attributes(interactions.attributes))
    else:
        count, domain, text, described = items or ITEMS, "items", True, 0
        config = resolve_sizes(
            config, Sizes(positions=count * (HISTORY - 1), interactions=count * HISTORY, users=count, items=count)
        )
        assumed = (f"{count:,} users of {HISTORY} interactions, which decides every option that says auto",)
    collaborative = 0 if config.collaborative.encoder == "none" else config.collaborative.dim
    read = hidden_size(config.text.model) if text and config.text.model is not None else 0
    return Subject(name, config, items or count, collaborative, read, domain, assumed, described)


@dataclass(frozen=True, eq=False)
class Skeleton:
    """One member on the `meta` device.

    Attributes:
        model: the member.
        architecture: source of the language model's shape; None for `nano`.
        prompt: number of tokens before the history.
        prompt_estimated: whether that number is an estimate, because the model's tokenizer is not at hand.
    """

    model: DeftRec
    architecture: Architecture | None
    prompt: int
    prompt_estimated: bool

    def catalogue(self) -> ItemLatents:
        """Tokens and latents of the items, as serving holds them."""
        model = self.model
        items, ways, width = len(model.features), model.item_tokenizer.tokens, model.language.width
        latents = torch.empty(items, width, device=META)
        return ItemLatents(torch.empty(items, ways, width, device=META), latents, model.features.values.detach())


def build_skeleton(subject: Subject) -> Skeleton:
    """The model of `subject`, with attention written out so that every product is counted.

    A 4-bit model is built as one with an adapter; `deftrec.doctor.examination` counts its weights as 4 bits.

    Raises a `ConfigError` or a `DownloadError` if the shape of its language model cannot be read.
    """
    config = subject.config
    widths = subject.collaborative_width, subject.text_width, subject.attributes_width
    ways, max_history = config.tokenizer.tokens, int(config.data.max_history)
    options, architecture = config.language, None
    with META:
        features = ItemFeatures.of_widths(torch.empty(subject.items, sum(widths)), *widths)
        if isinstance(options, NanoOptions):
            language: LanguageModel = build_language_model(
                options, domain=subject.domain, ways=ways, max_history=max_history
            )
        else:
            architecture = architecture_of(options.model, options.revision)
            tuning = "lora" if options.tuning == "nf4" else options.tuning
            plain = options.model_copy(update={"tuning": tuning, "gradient_checkpointing": False})
            language = PretrainedLanguageModel(
                architecture.folder, plain, subject.domain, ways, max_history, (), skeleton=True
            )
        model = DeftRec.build(features, language, config)
        prompt = len(language.eval().words())  # training draws another one every time
        language.train()
    estimated = architecture is not None and not has_tokenizer(architecture.folder)
    return Skeleton(model, architecture, prompt, estimated)


def one_layout(rows: int, max_history: int) -> Layout:
    """Layout of `rows` histories of full length."""
    positions = torch.arange(max_history, device=META).expand(rows, max_history)
    return Layout(torch.zeros_like(positions), positions)


def tokens_per_item(config: Config) -> int:
    """Tokens of one item in a history: its continuous tokens and its title."""
    titles = config.language.titles if isinstance(config.language, PretrainedOptions) else 0
    return config.tokenizer.tokens + titles
