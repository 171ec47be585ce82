"""Arguments and options of several commands."""

import csv
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from deftrec.cli.flags import with_flags
from deftrec.data.sources.roles import Reading
from deftrec.errors import ConfigError
from deftrec.progress import Progress

BOXES = 80  # least width of a terminal, in letters, at which help in boxes cuts no option


def command_group(**more: Any) -> typer.Typer:
    """Make a group of commands, whose help is in boxes where the terminal has room; `more` as for `typer.Typer`."""
    form: Literal["rich"] | None = "rich" if shutil.get_terminal_size().columns >= BOXES else None
    return typer.Typer(no_args_is_help=True, rich_markup_mode=form, **more)


def option(text: str, metavar: str | None = None, *names: str, **more: Any) -> Any:
    """Make a typer option from its help text; `names` default to that of the parameter."""
    return typer.Option(*names, help=text, metavar=metavar, **more)


def flag(name: str, text: str) -> Any:
    """Make a typer option that is on if it is given, and has no counterpart that turns it off."""
    return typer.Option(name, help=text)


def argument(text: str, metavar: str) -> Any:
    """Make a typer argument from its help text."""
    return typer.Argument(help=text, metavar=metavar)


def column(what: str, *names: str) -> Any:
    """Make the option of the name of a column."""
    return option(f"Column of {what}.", "COL", *names)


RunFolder = Annotated[Path, argument("Run directory, written by 'deftrec train --out'.", "RUN")]
DataFolder = Annotated[
    Path, option("Data directory, from 'deftrec data fetch' or 'deftrec data import'.", "DIR", "--data")
]
Recipe = Annotated[str, option("YAML file, or name of a recipe of the package.", "FILE_OR_NAME", "--recipe")]
OptionalRecipe = Annotated[
    str | None,
    option("YAML file, or name of a recipe of the package; default: the recipe 'default'.", "FILE_OR_NAME", "--recipe"),
]
Overrides = Annotated[list[str] | None, option("New value of a recipe's option; repeatable.", "KEY=VALUE", "--set")]
Seen = Annotated[Literal["exclude", "keep"], option("Exclude or keep items of the history as recommendations.")]
K = Annotated[int, typer.Option("-k", "--k", help="Number of items.", min=1)]
LARGEST_SEED = 2**64 - 1
Seed = Annotated[int | None, option("Seed of the sampling noise; default: the run's seed.", min=0, max=LARGEST_SEED)]
Precision = Annotated[Literal["auto", "bf16", "fp32"], option("Precision of the language model; auto: bf16 if faster.")]
Runtime = Annotated[
    Literal["torch", "openvino"], option("Library that runs a language model; openvino needs the extra openvino.")
]
ColumnNames = Annotated[
    str | None, option("Columns of a CSV file without header; '-' for one to ignore.", "A,B,C", "--columns")
]
TimeFormat = Annotated[
    str | None, option("Form of dates: day-first, month-first, or strptime's, such as '%d.%m.%y %H:%M'.", "FORM")
]
TableForm = Annotated[
    Literal["csv", "parquet", "jsonl"] | None, option("Format of FILE; default: from its name.", None, "--format")
]
Json = Annotated[bool, flag("--json", "Print JSON to stdout, in place of text.")]
JsonFile = Annotated[Path | None, option("Write the JSON to a file.", "FILE", "--json-file")]


def split_ids(text: str, option: str = "--history") -> list[str]:
    """Split the comma-separated item ids of `option`; an id with a comma is in double quotes, which must be closed."""
    try:
        rows = list(csv.reader([text], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise ConfigError(f"{option} {text!r}: not a comma-separated list ({error})") from error
    return [item for row in rows for item in row]


def split_names(columns: str | None) -> tuple[str, ...] | None:
    """Split the comma-separated names of `--columns`."""
    return None if columns is None else tuple(name.strip() for name in columns.split(","))


def said_to(progress: Progress) -> Callable[[Reading], None]:
    """Make a callback that says which columns were taken from a table, unless their names are those of the roles."""

    def say(reading: Reading) -> None:
        if not reading.is_plain:
            progress.say(with_flags(str(reading)))

    return say


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
