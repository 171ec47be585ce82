"""A DeftRec on the `meta` device: every shape is there, and no value."""

from dataclasses import dataclass

import torch

from deftrec.config import Config, NanoOptions, PretrainedOptions
from deftrec.doctor.subject import Subject
from deftrec.language import LanguageModel, Layout, build_language_model
from deftrec.language.pretrained import PretrainedLanguageModel
from deftrec.model import DeftRec, ItemLatents
from deftrec.pretrained_files.architecture import Architecture, architecture_of, has_tokenizer
from deftrec.tokenizer import ItemFeatures

META = torch.device("meta")


@dataclass(frozen=True, eq=False)
class Skeleton:
    """One member, and where the shape of its language model comes from.

    Attributes:
        model: on `meta`.
        architecture: None for `nano`.
        prompt: tokens before the history.
        prompt_estimated: whether they were not counted by the model's own tokenizer.
    """

    model: DeftRec
    architecture: Architecture | None
    prompt: int
    prompt_estimated: bool

    def catalogue(self) -> ItemLatents:
        """What serving holds of the items."""
        model = self.model
        items, ways, width = len(model.features), len(model.item_tokenizer.encoders), model.language.width
        with META:
            latents = torch.empty(items, width)
            return ItemLatents(torch.empty(items, ways, width), latents, model.features.values.detach())


def build_skeleton(subject: Subject) -> Skeleton:
    """The model of `subject`, its attention written out, so that every product is seen.

    Weights of 4 bits are those of an adapter's model here; `deftrec.doctor.memory` knows how small they are.

    Raises:
        ConfigError, DownloadError: the shape of its language model cannot be read.
    """
    config = subject.config
    width = subject.collaborative_width + subject.text_width
    ways, max_history = config.tokenizer.ways, int(config.data.max_history)
    options, architecture = config.language, None
    with META:
        features = ItemFeatures(
            torch.empty(subject.items, width),
            slice(0, subject.collaborative_width),
            slice(subject.collaborative_width, width),
        )
        if isinstance(options, NanoOptions):
            language: LanguageModel = build_language_model(
                options, domain=subject.domain, ways=ways, max_history=max_history
            )
        else:
            architecture = architecture_of(options.model, options.revision)
            language = PretrainedLanguageModel(
                architecture.folder, _plain(options), subject.domain, ways, max_history, (), skeleton=True
            )
        model = DeftRec.build(features, language, config)
        prompt = len(language.eval().words())  # training draws another one every time
        language.train()
    estimated = architecture is not None and not has_tokenizer(architecture.folder)
    return Skeleton(model, architecture, prompt, estimated)


def _plain(options: PretrainedOptions) -> PretrainedOptions:
    tuning = "lora" if options.tuning == "nf4" else options.tuning
    return options.model_copy(update={"tuning": tuning, "gradient_checkpointing": False})


def one_layout(rows: int, max_history: int) -> Layout:
    """`rows` histories that fill the window."""
    positions = torch.arange(max_history, device=META).expand(rows, max_history)
    return Layout(torch.zeros_like(positions), positions)


def tokens_per_item(config: Config) -> int:
    """Tokens of one item in a history: its continuous ones, and the words of its title."""
    titles = config.language.titles if isinstance(config.language, PretrainedOptions) else 0
    return config.tokenizer.ways + titles
