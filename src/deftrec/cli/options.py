"""Arguments and options that several verbs share."""

import csv
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
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change an option of the recipe; repeatable.", metavar="KEY=VALUE")
]
Seen = Annotated[Literal["exclude", "keep"], typer.Option(help="Whether items of the history may be recommended.")]
K = Annotated[int, typer.Option("-k", "--k", help="How many items.", min=1)]
Seed = Annotated[int | None, typer.Option(help="Of the sampling noise; the run's own unless said.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]


def split_ids(text: str) -> list[str]:
    """Item ids of a comma-separated list; an id that holds a comma is written in double quotes, as in CSV.

    Raises:
        ConfigError: a quote is not closed.
    """
    try:
        rows = list(csv.reader([text], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise ConfigError(f"--history {text!r}: not a comma-separated list ({error})") from error
    return [item for row in rows for item in row]
