"""The list of variants: name, what it is in a line, and what it changes."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deftrec.config import Config
from deftrec.errors import ConfigError
from deftrec.recipe import ABLATIONS, build_config, load_recipe, read_yaml, recipes_folder

BASE = "deftrec"
"""The recipe itself."""


class Variant(BaseModel):
    """One choice changed.

    Attributes:
        about: what it is, in a line.
        set: options laid over those of the recipe, group by group.
        recipe: another recipe in place of the one that is asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    about: str
    changes: dict[str, Any] = Field(default_factory=dict, alias="set")
    recipe: str | None = None

    def config(self, base: Config) -> Config:
        """The variant's options, given those of the recipe: `plain`, with the change laid over it.

        Raises:
            ConfigError: the recipe's other options do not go together with the change.
        """
        start = base if self.recipe is None else load_recipe(self.recipe).model_copy(update={"seed": base.seed})
        return build_config(_laid_over(plain(start).model_dump(mode="json"), self.changes), self.about)


def plain(config: Config) -> Config:
    """`config` with the latent score of one member alone: a prior or an average would hide what a change does."""
    prior = config.retrieval.prior.model_copy(update={"kind": "none"})
    return config.model_copy(
        update={
            "retrieval": config.retrieval.model_copy(update={"prior": prior}),
            "training": config.training.model_copy(update={"ensemble_size": 1}),
        }
    )


def load_variants(path: Path | None = None) -> dict[str, Variant]:
    """The variants of a YAML file, in its order; of the shipped one unless said.

    Raises:
        ConfigError: the file cannot be read, or an entry is no variant.
    """
    path = path or recipes_folder() / ABLATIONS
    entries = read_yaml(path) or {}
    try:
        return {name: Variant.model_validate(entry) for name, entry in entries.items()}
    except (AttributeError, ValidationError) as error:
        raise ConfigError(f"{path}: no list of variants ({' '.join(str(error).split())[:200]})") from error


def choose_variants(variants: Mapping[str, Variant], names: str | None) -> dict[str, Variant]:
    """Those of a comma-separated list, with or without the part before the slash; all of them for None.

    Raises:
        ConfigError: a name is not among them; the nearest one and all others are named.
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


def _laid_over(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Groups are merged key by key, unless the change is of another kind: its options are none of the old one's."""
    merged = dict(values)
    for key, change in changes.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(change, dict):
            another = "kind" in change and change["kind"] != before.get("kind")
            merged[key] = dict(change) if another else _laid_over(before, change)
        else:
            merged[key] = change
    return merged
