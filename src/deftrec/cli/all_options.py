"""`deftrec options`: all options of a recipe, with their values and meanings."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args, get_origin

from rich.table import Column

from deftrec.cli.console import give, output
from deftrec.cli.fitting import FittingTable
from deftrec.cli.options import Json, JsonFile, argument, option
from deftrec.errors import ConfigError

if TYPE_CHECKING:
    from deftrec.config import Options


class Option(NamedTuple):
    """Name for `--set`, value in the recipe, allowed words (empty for other types) and description of an option."""

    name: str
    value: Any
    choices: tuple[str, ...]
    about: str


def all_options(
    part: Annotated[str, argument("Part of the names of the options to show.", "PART")] = "",
    recipe: Annotated[
        str, option("Recipe with the values to show: YAML file, or name of a recipe of the package.")
    ] = "default",
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Show the options of a recipe with values and meanings, and the recipes of the package.

    Example: deftrec options retrieval --recipe default
    """
    from deftrec.recipe import load_recipe, shipped_recipes

    found = [one for one in _options(load_recipe(recipe)) if part in one.name]
    if not found:
        raise ConfigError(f"no option of recipe {recipe} has {part!r} in its name; 'deftrec options' shows them all")
    if give([one._asdict() for one in found], as_json, json_file):
        return
    table = FittingTable(Column("option", no_wrap=True), Column(recipe, max_width=24), "meaning")
    for one in found:
        value = one.value if isinstance(one.value, str) else json.dumps(one.value)
        table.add_row(one.name, value, _meaning(one))
    output().print(table)
    print(f"{len(found)} option{'s' if len(found) > 1 else ''}; recipes: {', '.join(shipped_recipes())}")


def _meaning(option: Option) -> str:
    """The description of an option, with the words that it allows."""
    if len(option.choices) > 1:
        return f"{option.about} Values: {', '.join(option.choices)}."
    known = not option.choices or option.choices[0] == option.value or f"{option.choices[0]}:" in option.about
    return option.about if known else f"{option.about} Or: {option.choices[0]}."


def _options(group: "Options", prefix: str = "") -> Iterator[Option]:
    from deftrec.config import Options

    values = group.model_dump(mode="json")
    for name, field in type(group).model_fields.items():
        inner = getattr(group, name)
        if isinstance(inner, Options):
            yield from _options(inner, f"{prefix}{name}.")
        else:
            choices = tuple(_words(field.annotation))
            yield Option(prefix + name, values[name], choices, " ".join((field.description or "").split()))


def _words(annotation: Any) -> Iterator[str]:
    """The words that a type allows as values."""
    if get_origin(annotation) is Literal:
        yield from (word for word in get_args(annotation) if isinstance(word, str))
    else:
        for inner in get_args(annotation):
            yield from _words(inner)
