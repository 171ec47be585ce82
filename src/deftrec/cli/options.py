"""Arguments and options of several commands."""

import csv
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from deftrec.errors import ConfigError

RunFolder = Annotated[Path, typer.Argument(help="Run directory, written by 'deftrec train --out'.", metavar="RUN")]
DataFolder = Annotated[
    Path,
    typer.Option("--data", help="Data directory, from 'deftrec data fetch' or 'deftrec data import'.", metavar="DIR"),
]
Recipe = Annotated[
    str, typer.Option("--recipe", help="YAML file, or name of a recipe of the package.", metavar="FILE_OR_NAME")
]
OptionalRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="YAML file, or name of a recipe of the package; default: the recipe 'default'.",
        metavar="FILE_OR_NAME",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="New value of an option of the recipe; repeatable.", metavar="KEY=VALUE"),
]
Seen = Annotated[
    Literal["exclude", "keep"], typer.Option(help="Exclude or keep items of the history as recommendations.")
]
K = Annotated[int, typer.Option("-k", "--k", help="Number of items.", min=1)]
Seed = Annotated[int | None, typer.Option(help="Seed of the sampling noise; default: the run's seed.", min=0)]
Precision = Annotated[
    Literal["auto", "bf16", "fp32"],
    typer.Option(help="Precision of the language model; auto: bf16 where this machine computes it faster."),
]
Runtime = Annotated[
    Literal["torch", "openvino"],
    typer.Option(help="Library that runs a pre-trained language model; openvino needs the extra openvino."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]


def column(what: str, *names: str) -> Any:
    """Make the typer option of the name of a column; `names` default to that of the parameter."""
    return typer.Option(*names, help=f"Column of {what}.", metavar="COL")


def split_ids(text: str, option: str = "--history") -> list[str]:
    """Split the comma-separated item ids of `option`; an id with a comma is in double quotes, as in CSV.

    Raises:
        ConfigError: a quote is not closed.
    """
    try:
        rows = list(csv.reader([text], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise ConfigError(f"{option} {text!r}: not a comma-separated list ({error})") from error
    return [item for row in rows for item in row]


def command_line(verb: str, defaults: Mapping[str, object], /, **options: object) -> str:
    """Write the shell command that repeats a call, without options at their defaults.

    Args:
        verb: command of deftrec.
        defaults: default of each option by name; an option that is None or False is left out anyway.
        options: value of each option by name; True is a flag without value, a list repeats its flag.
    """
    words = ["deftrec", verb]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, list):
            words += [word for one in value for word in (flag, str(one))]
        elif value is not None and value is not False and value != defaults.get(name):
            words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)
