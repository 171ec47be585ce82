"""A DeftRec on the `meta` device: shapes without values."""

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
        items, ways, width = len(model.features), len(model.item_tokenizer.encoders), model.language.width
        latents = torch.empty(items, width, device=META)
        return ItemLatents(torch.empty(items, ways, width, device=META), latents, model.features.values.detach())


def build_skeleton(subject: Subject) -> Skeleton:
    """The model of `subject`, with attention written out so that every product is counted.

    A 4-bit model is built as one with an adapter; `deftrec.doctor.memory` counts its weights as 4 bits.

    Raises a `ConfigError` or a `DownloadError` if the shape of its language model cannot be read.
    """
    config = subject.config
    width = subject.collaborative_width + subject.text_width
    ways, max_history = config.tokenizer.ways, int(config.data.max_history)
    options, architecture = config.language, None
    with META:
        collaborative, text = slice(0, subject.collaborative_width), slice(subject.collaborative_width, width)
        features = ItemFeatures(torch.empty(subject.items, width), collaborative, text)
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
    return config.tokenizer.ways + titles
