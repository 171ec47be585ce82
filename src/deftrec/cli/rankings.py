"""Lists of many users: who they are, and rows as CSV, JSON lines or Parquet, in a file, in parts or on stdout."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from deftrec.cli.console import give
from deftrec.errors import ConfigError, DataError, first_line
from deftrec.progress import Progress

if TYPE_CHECKING:
    import polars as pl

    from deftrec.bulk import Job
    from deftrec.recommender import Recommender

EngineName: TypeAlias = Literal["local", "ray"]  # as in deftrec.bulk, which takes seconds to import
RowFormat: TypeAlias = Literal["csv", "jsonl", "parquet"]

SUFFIXES: dict[str, RowFormat] = {
    ".csv": "csv",
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}


IDS_BY_LINE = {".txt", ".dat", ".data"}
"""Endings of tables whose users are ids, one a line."""


def row_format(out: Path | None, form: RowFormat | None) -> RowFormat | None:
    """The format of the rows in `out` (None: stdout); None for a directory of parts.

    Raises a `ConfigError` where no format, or no file, follows from the two.
    """
    if out is None:
        if form == "parquet":
            raise ConfigError("--format parquet is no text for a terminal: give --out FILE.parquet")
        return form or "csv"
    found = SUFFIXES.get(out.suffix.lower())
    if form is not None:
        if out.is_dir() or (found or form) != form:
            raise ConfigError(f"--out {out}: is no file of --format {form}; name one, or leave --format out")
        return form
    if found is None and out.suffix and not out.is_dir() and not out.suffix[1:].isdigit():
        raise ConfigError(f"--out {out}: name a file .parquet, .csv or .jsonl, or a directory of parts; or --format")
    return found


def read_users(path: Path) -> list[Any]:
    """User ids of a file: one a line, or the column of users of a table by its name; `-` is stdin.

    A file may be packed, in UTF-16 and so on, like those of an import. Raises a `DataError` if there is no such file,
    column or id.
    """
    from deftrec.data.sources.opening import is_there, open_text, unpacked_name
    from deftrec.data.sources.tabular import SUFFIXES as OF_TABLES
    from deftrec.data.sources.tabular import read_users as read_column

    try:
        if str(path) == "-":
            users = _lines(sys.stdin.read().removeprefix("\ufeff"))
        elif not is_there(path) or unpacked_name(path).suffix.lower() in {*OF_TABLES} - IDS_BY_LINE:
            users = read_column(path)
        else:
            with open_text(path) as file:
                users = _lines(file.read())
    except DataError as error:
        raise DataError(f"--users {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--users {path}: cannot be read ({first_line(error)})") from error
    if not users:
        raise DataError(f"--users {path}: names no user; give one id a line")
    return users


def _lines(text: str) -> list[Any]:
    """Ids that stand in lines; other characters that Python takes for the end of a line are part of an id."""
    return [line.strip() for line in re.split("\r\n|\r|\n", text) if line.strip()]


def check_users(path: Path, users: list[Any], recommender: "Recommender") -> None:
    """Raise a `DataError` that names the first user whom the run does not know."""
    known = recommender.interactions.number_of_user
    for place, user in enumerate(users, start=1):
        if str(user) not in known:
            mend = "leave the id out, or add the user's interactions with 'deftrec update'"
            raise DataError(
                f"--users {path}: id {place}, {user!r}, is not among the run's {len(known):,} users; {mend}"
            )


def write_rows(frames: Iterator["pl.DataFrame"], out: Path | None, form: RowFormat) -> None:
    """Write lists of users, some thousand users in memory at a time; a file appears as a whole."""
    from deftrec.evaluation import write_rankings
    from deftrec.files import atomic_path

    if out is None:
        for text in _texts(frames, form):
            print(text, end="")
    elif form == "parquet":
        write_rankings(out, frames)
    else:
        with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            for text in _texts(frames, form):
                file.write(text)


def _texts(frames: Iterator["pl.DataFrame"], form: RowFormat) -> Iterator[str]:
    for place, frame in enumerate(frames):
        yield frame.write_csv(include_header=place == 0) if form == "csv" else frame.write_ndjson()


def counted(frames: Iterator["pl.DataFrame"], users: int, progress: Progress) -> Iterator["pl.DataFrame"]:
    """The frames of so many users, with progress."""
    from deftrec.list_making import USERS_AT_ONCE

    progress.begin("users", users)
    for done, frame in zip(range(0, users, USERS_AT_ONCE), frames, strict=True):
        yield frame
        progress.advance("users", min(USERS_AT_ONCE, users - done))
    progress.end("users")


def write_parts(
    recommender: "Recommender", job: "Job", run: Path, out: Path, engine: EngineName, progress: Progress
) -> None:
    """Write the parts that are missing in `out`."""
    from deftrec.bulk import ENGINES

    missing = job.begin(out)
    if len(missing) < job.parts:
        progress.say(f"{out}: {job.parts - len(missing):,} of {job.parts:,} parts are there")
    progress.begin("users", sum(len(job.members(part)) for part in missing))
    for users in ENGINES[engine](job, run, recommender, out, missing):
        progress.advance("users", users)
    progress.end("users")


def say_written(out: Path, users: int, k: int, as_json: bool, json_file: Path | None) -> None:
    """Say what was written, in a line or as JSON."""
    if not give({"out": str(out), "users": users, "k": k}, as_json, json_file):
        print(f"{out}: up to {k} items for each of {users:,} users")
