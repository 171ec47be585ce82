"""Command lines of the studies: options by typer, an error as one line, an exit code."""

import sys
from collections.abc import Callable, Sequence

import typer

from deftrec.cli import options as cli_options
from deftrec.cli.console import Stopped
from deftrec.errors import DeftRecError

WRONG_USE, INTERRUPTED = 2, 130


def run(command: Callable[..., None] | typer.Typer, module: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for an error, 2 for wrong use, 130 after an interruption.

    Args:
        command: function whose annotations describe the options, or several such commands.
        module: name of the module behind `python -m`, for messages.
        arguments: words of the command line; None: those of this process.
    """
    app = command
    if not isinstance(app, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(command)
    program = f"python -m {module}"
    try:
        code = app(
            args=list(sys.argv[1:] if arguments is None else arguments), prog_name=program, standalone_mode=False
        )
    except (KeyboardInterrupt, Stopped) as stop:
        return _fail(str(stop) or "interrupted", INTERRUPTED)
    except typer.TyperException as error:
        return _fail(f"error: {error.format_message()} ({program} --help lists the options)", WRONG_USE)
    except (DeftRecError, OSError) as error:
        return _fail(f"error: {error}", 1)
    return code if isinstance(code, int) else 0


def command_line(module: str, **options: object) -> str:
    """The command that repeats a study; options that are None or False are left out."""
    return f"python -m {cli_options.command_line(module, {}, **options).removeprefix('deftrec ')}"


def _fail(line: str, code: int) -> int:
    print(" ".join(line.split()), file=sys.stderr)
    return code
