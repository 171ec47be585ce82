"""The run or recipe to examine, with the sizes its costs depend on."""

from dataclasses import dataclass, field
from pathlib import Path

from deftrec.config import Config
from deftrec.data import Interactions, make_split
from deftrec.data.words import texts_of
from deftrec.errors import ConfigError
from deftrec.pretrained_files.architecture import hidden_size
from deftrec.recipe import load_recipe
from deftrec.recipe import resolve as resolve_sizes
from deftrec.run import read_records
from deftrec.sizes import Sizes
from deftrec.training.fit import resolve

ITEMS = 10_000
HISTORY = 20
"""Default size of the catalogue, and interactions per user. There are as many users as items."""


@dataclass(frozen=True)
class Subject:
    """A configuration with the sizes that decide its costs.

    Attributes:
        name: name of the run or the recipe.
        config: options, resolved.
        items: size of the catalogue.
        collaborative_width, text_width: columns of the item features.
        domain: kind of the items in a word, for the prompt.
        assumed: assumptions, in words.
    """

    name: str
    config: Config
    items: int
    collaborative_width: int
    text_width: int
    domain: str = "items"
    assumed: tuple[str, ...] = field(default=())


def subject_of(
    name: str, *, items: int | None = None, data: Path | None = None, overrides: list[str] | None = None
) -> Subject:
    """The run in the folder `name`, or the recipe of that name or path.

    Raises a `ConfigError` if there is no such run or recipe, or a run is given other data or options; and a
    `DeftRecError` if a file of the run is damaged.

    Args:
        items: size of the catalogue instead of the data's own.
        data: data directory for a recipe.
        overrides: `a.b=c` overrides of a recipe.
    """
    folder = Path(name)
    if (folder / "config.json").is_file():
        if data is not None or overrides:
            raise ConfigError(f"{folder}: a run has its own data and options; leave out --data and --set")
        config, info = read_records(folder)
        found = Interactions.load(folder / "data")
        widths = info.collaborative_width, info.text_width
        return Subject(str(folder), config, items or found.n_items, *widths, found.meta.domain)
    if folder.is_dir():
        raise ConfigError(f"{folder}: no config.json; give the directory that 'deftrec train --out' wrote, or a recipe")
    return _recipe(name, items, data, overrides)


def _recipe(name: str, items: int | None, data: Path | None, overrides: list[str] | None) -> Subject:
    config = load_recipe(name, overrides)
    assumed: tuple[str, ...] = ()
    if data is not None:
        interactions = Interactions.load(data)
        config = resolve(config, interactions, make_split(interactions, config.data.split))
        text = any(texts_of(interactions.catalogue))
        count, domain = interactions.n_items, interactions.meta.domain
    else:
        count, domain, text = items or ITEMS, "items", True
        config = resolve_sizes(
            config, Sizes(positions=count * (HISTORY - 1), interactions=count * HISTORY, users=count, items=count)
        )
        assumed = (f"{count:,} users of {HISTORY} interactions, which decides every option that says auto",)
    collaborative = 0 if config.collaborative.encoder == "none" else config.collaborative.dim
    read = hidden_size(config.text.model) if text and config.text.model is not None else 0
    return Subject(name, config, items or count, collaborative, read, domain, assumed)
