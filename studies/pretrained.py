"""Pre-trained models in the studies: sentence vectors of a catalogue, and copies of a model with random weights."""

import shutil
from pathlib import Path

import torch
from torch import Tensor

from deftrec.config import Config
from deftrec.data import Interactions
from deftrec.data.words import texts_of
from deftrec.errors import ConfigError
from deftrec.files import atomic_directory
from deftrec.pretrained_files.architecture import hidden_size
from deftrec.pretrained_files.locate import model_folder
from deftrec.progress import Progress
from deftrec.text.sentences import sentence_vectors

WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json")


def require_text(config: Config) -> None:
    """Refuse options without a sentence model.

    Raises:
        ConfigError: the recipe has no text vectors.
    """
    if config.text.model is None:
        raise ConfigError("items added after training are read as text: set text.model to minilm")


def text_vectors(interactions: Interactions, config: Config, progress: Progress) -> Tensor:
    """Sentence vectors of a whole catalogue, for baselines and for items added after training. `[I, E]` float32

    Raises:
        ConfigError: the recipe has no text vectors.
    """
    require_text(config)
    options, catalogue = config.text, interactions.catalogue
    assert options.model is not None
    task = "text vectors of all items"
    progress.begin(task, catalogue.height)
    vectors = sentence_vectors(
        texts_of(catalogue),
        model_folder(options.model),
        max_tokens=options.max_tokens,
        device=torch.device("cpu"),
        dtype=torch.float32,
        on_batch=lambda n: progress.advance(task, n),
    )
    progress.end(task)
    return vectors


def text_width(config: Config) -> int:
    """Width of the recipe's sentence vectors; 0 without text vectors."""
    return 0 if config.text.model is None else hidden_size(config.text.model)


def random_copy(model: str, folder: Path, seed: int = 0) -> Path:
    """Write a copy of a language model whose weights are drawn at random, and return its folder.

    The copy has the architecture and the tokenizer of the model: what differs in accuracy is the pre-training. A copy
    that is already there is kept.

    Args:
        model: `minilm`, a local folder, or a hub id.
        folder: folder of the copy.
        seed: seed of the weights.

    Raises:
        ConfigError: the model cannot be read.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    if folder.is_dir():
        return folder
    source = model_folder(model)
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    writes = any(name.endswith("ForCausalLM") for name in config.architectures or ())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random = (AutoModelForCausalLM if writes else AutoModel).from_config(config, dtype=torch.float32)
    with atomic_directory(folder) as temporary:
        shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(*WEIGHTS), dirs_exist_ok=True)
        random.save_pretrained(temporary)
    return folder
