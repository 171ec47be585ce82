"""The list of variants: each has a name, a description in a line, and one change."""

import difflib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deftrec.config import Config, PretrainedOptions
from deftrec.errors import ConfigError
from deftrec.recipe import build_config, load_recipe, read_yaml
from studies.pretrained import random_copy

BASE = "deftrec"
"""Name of the recipe itself."""
VARIANTS = Path(__file__).with_name("variants.yaml")


class Variant(BaseModel):
    """One choice changed.

    Attributes:
        about: description in a line.
        changes: options that replace those of the recipe, group by group; `set` in the file.
        recipe: another recipe in place of the given one: a name, or a path, also relative to the shipped list.
        patch: name of a function of `studies.ablation.patches`; training and measuring happen inside the block that it
            returns. For changes that no option makes.
        random_language: whether the pre-trained language model starts from random weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    about: str
    changes: dict[str, Any] = Field(default_factory=dict, alias="set")
    recipe: str | None = None
    patch: str | None = None
    random_language: bool = False

    @property
    def changes_code(self) -> bool:
        """Whether more than options changes."""
        return self.patch is not None or self.random_language

    def config(self, base: Config) -> Config:
        """Options of the variant: `plain` options of the recipe with the change.

        Raises:
            ConfigError: the recipe's other options exclude the change.
        """
        start = base
        if self.recipe is not None:
            beside = VARIANTS.parent / self.recipe
            recipe = load_recipe(str(beside) if beside.is_file() else self.recipe)
            start = recipe.model_copy(update={"seed": base.seed})
        return build_config(_merged(plain(start).model_dump(mode="json"), self.changes), self.about)

    def patched(self) -> AbstractContextManager[None]:
        """The block in which the variant is trained and measured."""
        if self.patch is None:
            return nullcontext()
        from studies.ablation import patches  # transformers, which take seconds

        if self.patch not in patches.__all__:
            raise ConfigError(f"{self.about}: no patch {self.patch!r}; there are: {', '.join(patches.__all__)}")
        return cast(AbstractContextManager[None], getattr(patches, self.patch)())

    def with_random_language(self, config: Config, folder: Path) -> Config:
        """The options, with a copy of the language model under random weights where the variant asks for it.

        Args:
            config: options of the variant, with the seed of the training.
            folder: folder of the copies.
        """
        if not self.random_language:
            return config
        language = config.language
        if not isinstance(language, PretrainedOptions):
            raise ConfigError(f"{self.about}: random weights need language.kind pretrained")
        copy = random_copy(language.model, folder / f"random-language-{config.seed}", config.seed)
        return config.model_copy(update={"language": language.model_copy(update={"model": str(copy)})})


def plain(config: Config) -> Config:
    """Options of the latent term of one model: a prior, a trend or an ensemble would hide what a change does."""
    return config.model_copy(
        update={
            "retrieval": config.retrieval.model_copy(update={"prior": "none", "trend": False}),
            "training": config.training.model_copy(update={"ensemble_size": 1}),
        }
    )


def load_variants(path: Path = VARIANTS) -> dict[str, Variant]:
    """The variants of a YAML file, in its order.

    Raises:
        ConfigError: the file cannot be read, or an entry is not a variant.
    """
    entries = read_yaml(path) or {}
    try:
        return {name: Variant.model_validate(entry) for name, entry in entries.items()}
    except (AttributeError, ValidationError) as error:
        raise ConfigError(f"{path}: no list of variants ({' '.join(str(error).split())[:200]})") from error


def choose_variants(variants: Mapping[str, Variant], names: str | None) -> dict[str, Variant]:
    """The variants of a comma-separated list, with or without the part before the slash; all of them for None.

    Raises:
        ConfigError: a name is unknown; the message names the nearest one and all others.
    """
    if names is None:
        return dict(variants)
    chosen = {}
    for word in filter(None, (name.strip() for name in names.split(","))):
        name = word if "/" in word else f"{BASE}/{word}"
        if name not in variants:
            near = difflib.get_close_matches(name, list(variants), n=1, cutoff=0.0)
            raise ConfigError(
                f"--variants {word!r}: no such variant; did you mean {near[0]!r}? There are: {', '.join(variants)}"
            )
        chosen[name] = variants[name]
    return chosen


def _merged(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Options with changes, key by key; a group of another `kind` replaces the old group."""
    merged = dict(values)
    for key, change in changes.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(change, dict):
            another = "kind" in change and change["kind"] != before.get("kind")
            merged[key] = dict(change) if another else _merged(before, change)
        else:
            merged[key] = change
    return merged
