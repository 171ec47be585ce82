"""The command line. Errors are one line and an exit code; `--debug` shows where they come from."""

import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Annotated, Any

import typer

from deftrec import __version__
from deftrec.cli.all_options import all_options
from deftrec.cli.benchmark import benchmark
from deftrec.cli.console import Stopped, be_verbose
from deftrec.cli.data import app as data_app
from deftrec.cli.demo import demo
from deftrec.cli.doctor import doctor
from deftrec.cli.evaluate import evaluate
from deftrec.cli.flags import with_flags
from deftrec.cli.items import app as items_app
from deftrec.cli.mcp import mcp
from deftrec.cli.options import command_group, flag, option
from deftrec.cli.reason import reason
from deftrec.cli.recommend import recommend, similar
from deftrec.cli.requests import requests
from deftrec.cli.serve import api_key, serve
from deftrec.cli.threads import use_threads
from deftrec.cli.train import train
from deftrec.cli.update import update
from deftrec.errors import DeftRecError, in_a_line
from deftrec.streams import READER_GONE, flush_streams, prepare_streams

app = command_group(add_completion=False, pretty_exceptions_enable=False)
app.add_typer(data_app, name="data")
app.add_typer(items_app, name="items")
VERBS = (train, update, evaluate, recommend, similar, requests, reason, benchmark, doctor, serve, mcp, api_key, demo)
for verb in VERBS:
    app.command(verb.__name__.replace("_", "-"))(verb)
app.command("options")(all_options)

INTERRUPTED = 130
WRONG_USE = 2
MOST_THREADS = 1024
COMMON = re.compile(r"--(debug|verbose|threads(=.*)?)")  # options of every verb, which may stand behind it too


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def deftrec(
    debug: Annotated[bool, flag("--debug", "Show where an error comes from; works after the verb too.")] = False,
    verbose: Annotated[bool, flag("--verbose", "Show more of the work's figures; works after the verb too.")] = False,
    threads: Annotated[
        int | None,
        option(
            "Threads to compute with, after the verb too; default: OMP_NUM_THREADS, else a probe.",
            "N",
            min=1,
            max=MOST_THREADS,
        ),
    ] = None,
    version_: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """LLM-based recommendation with continuous tokens and denoising diffusion.

    Example: deftrec demo
    """
    be_verbose(verbose)
    if threads is not None:
        use_threads(threads)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    The code is 0, 1 for an error, 2 for wrong use, 130 when interrupted, and 141 where the reader of a pipe has gone.
    """
    prepare_streams()
    try:
        os.getcwd()  # noqa: PTH109 - pathlib asks too
    except FileNotFoundError:  # libraries fail on it in many ways, one by ending the process
        return _fail("error: the working directory was deleted; change to another one", 1)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # one bar at a time, and it is ours
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.formatwarning = lambda message, *_, **__: f"warning: {with_flags(str(message))}\n"
    try:
        code = _run(_common_first(sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:
        code = READER_GONE
    except SystemExit as end:  # rich ends the program where it meets a broken pipe
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        code = READER_GONE
    return flush_streams(code)


def _common_first(words: Sequence[str]) -> list[str]:
    """The words of a command with the options of every verb before the verb."""
    first, others = list[str](), list(words)
    for place in range(len(others) - 1, -1, -1):
        if COMMON.fullmatch(others[place]):
            count = 2 if others[place] == "--threads" else 1
            first = others[place : place + count] + first
            del others[place : place + count]
    return first + (others or ["--help"])


def _run(words: Sequence[str]) -> int:
    debug = "--debug" in words
    try:
        # Not `app(...)`, which answers interruptions and broken pipes in its own way.
        with typer.main.get_command(app).make_context("deftrec", list(words)) as context:
            context.command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, Stopped) as stop:
        return _fail(str(stop) or "interrupted", INTERRUPTED)
    except typer.TyperException as error:
        return _wrong_use(error, words)
    except BrokenPipeError:
        raise
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, DeftRecError | OSError):  # these are written for the user
            return _fail(f"error: {_said(error)}", 1)
        where = "" if debug else " (--debug shows where)"
        said = in_a_line(error).partition(" Exception raised from ")[0]  # torch adds its own trace
        return _fail(f"error: unexpected {type(error).__name__}: {said}{where}", 1)
    return 0


def _said(error: Exception) -> str:
    """The message of an error; one of the operating system begins with its file."""
    if isinstance(error, DeftRecError) or not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return f"{'standard output' if error.filename is None else os.fsdecode(error.filename)}: {error.strerror}"


def _wrong_use(error: typer.TyperException, words: Sequence[str]) -> int:
    """Report an unknown verb or option, or an invalid value, with the command that shows its help."""
    context = getattr(error, "ctx", None)
    if context is not None and type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help())
        return WRONG_USE
    command: Any = typer.main.get_command(app)
    path = ["deftrec"]
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        path.append(word)
    verb = context.command_path if context is not None else " ".join(path)
    said = error.format_message().rstrip(".")
    if "extra argument" in said or "does not take a value" in said:
        said += _new_spelling(words)
    return _fail(f"error: {said} ({verb} --help says more)", WRONG_USE)


def _new_spelling(words: Sequence[str]) -> str:
    """What to write in place of `--json FILE`, if a wrong command has it; else nothing."""
    for word, after in pairwise([*words, ""]):
        option, sign, file = word.partition("=")
        file = file if sign else after
        if option == "--json" and file and (file == "-" or not file.startswith("-")):
            mend = "--json alone" if file == "-" else f"--json-file {file}"
            return f"; --json takes no value and prints to stdout: write {mend}"
    return ""


def _fail(line: str, code: int) -> int:
    with suppress(OSError):  # stderr may be as full as the disk
        print(" ".join(with_flags(line).split()), file=sys.stderr)
    return code
