"""Arguments and options that several verbs share."""

import csv
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from deftrec.errors import ConfigError

RunFolder = Annotated[
    Path, typer.Argument(help="A run: the directory that 'deftrec train --out' wrote.", metavar="RUN")
]
DataFolder = Annotated[
    Path,
    typer.Option("--data", help="A data directory of 'deftrec data fetch' or 'deftrec data import'.", metavar="DIR"),
]
Recipe = Annotated[
    str, typer.Option("--recipe", help="A YAML file, or the name of a recipe that is shipped.", metavar="FILE_OR_NAME")
]
OptionalRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A YAML file, or the name of a recipe that is shipped; 'default' unless said.",
        metavar="FILE_OR_NAME",
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change an option of the recipe; repeatable.", metavar="KEY=VALUE")
]
Seen = Annotated[Literal["exclude", "keep"], typer.Option(help="Whether items of the history may be recommended.")]
K = Annotated[int, typer.Option("-k", "--k", help="How many items.", min=1)]
Seed = Annotated[int | None, typer.Option(help="Of the sampling noise; the run's own unless said.", min=0)]
Precision = Annotated[
    Literal["auto", "bf16", "fp32"],
    typer.Option(help="Of reading histories; auto: bf16 where this machine multiplies it faster."),
]
Runtime = Annotated[
    Literal["torch", "openvino"],
    typer.Option(help="What runs a pre-trained language model; openvino needs the extra of that name."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]


def split_ids(text: str, option: str = "--history") -> list[str]:
    """Item ids of a comma-separated list; an id that holds a comma is written in double quotes, as in CSV.

    Args:
        text: what the option `option` was given.

    Raises:
        ConfigError: a quote is not closed.
    """
    try:
        rows = list(csv.reader([text], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise ConfigError(f"{option} {text!r}: not a comma-separated list ({error})") from error
    return [item for row in rows for item in row]


def command_line(verb: str, defaults: Mapping[str, object], /, **options: object) -> str:
    """A command as somebody would repeat it: options in the order given, without those that stand at their default.

    Args:
        verb: of deftrec.
        defaults: by name; an option that is None or False is left out anyway.
        options: by name; True is a flag alone, a list repeats its flag.
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
