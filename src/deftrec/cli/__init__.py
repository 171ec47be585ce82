"""The command line. Errors are one line and an exit code; `--debug` shows where they come from."""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from deftrec import __version__
from deftrec.cli.all_options import all_options
from deftrec.cli.benchmark import benchmark
from deftrec.cli.console import Stopped
from deftrec.cli.data import app as data_app
from deftrec.cli.demo import demo
from deftrec.cli.doctor import doctor
from deftrec.cli.evaluate import evaluate
from deftrec.cli.flags import with_flags
from deftrec.cli.items import app as items_app
from deftrec.cli.mcp import mcp
from deftrec.cli.options import flag
from deftrec.cli.reason import reason
from deftrec.cli.recommend import recommend, similar
from deftrec.cli.requests import requests
from deftrec.cli.serve import api_key, serve
from deftrec.cli.train import train
from deftrec.cli.update import update
from deftrec.errors import DeftRecError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(data_app, name="data")
app.add_typer(items_app, name="items")
VERBS = (train, update, evaluate, recommend, similar, requests, reason, benchmark, doctor, serve, mcp, api_key, demo)
for verb in VERBS:
    app.command(verb.__name__.replace("_", "-"))(verb)
app.command("options")(all_options)

INTERRUPTED = 130
WRONG_USE = 2


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def deftrec(
    debug: Annotated[bool, flag("--debug", "Show where an error comes from; works after the verb too.")] = False,
    version_: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """LLM-based recommendation with continuous tokens and denoising diffusion.

    Example: deftrec demo
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for an error, 2 for wrong use, 130 when interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # one bar at a time, and it is ours
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.formatwarning = lambda message, *_, **__: f"warning: {with_flags(str(message))}\n"
    try:
        code = app(args=words or ["--help"], prog_name="deftrec", standalone_mode=False)
    except (KeyboardInterrupt, Stopped) as stop:
        return _fail(str(stop) or "interrupted", INTERRUPTED)
    except typer.TyperException as error:
        return _wrong_use(error, words)
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, DeftRecError | OSError):  # these are written for the user
            return _fail(f"error: {error}", 1)
        where = "" if debug else " (--debug shows where)"
        return _fail(f"error: unexpected {type(error).__name__}: {error}{where}", 1)
    if code == INTERRUPTED:  # the code of typer for a KeyboardInterrupt that no verb caught
        return _fail("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


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
    return _fail(f"error: {error.format_message()} ({verb} --help says more)", WRONG_USE)


def _fail(line: str, code: int) -> int:
    print(" ".join(with_flags(line).split()), file=sys.stderr)
    return code
