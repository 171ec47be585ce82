"""Standard streams that are closed, cannot encode a letter, have no reader or a full disk; Ctrl-C at any moment."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from deftrec.cli import main
from deftrec.cli.console import output
from deftrec.cli.tables import recommendation_table
from deftrec.data import Interactions, Meta
from deftrec.recommendation import Recommendation

START = [sys.executable, "-m", "deftrec"]
TITLE = "Amélie “2” 🎬"  # cp1252 has all but the last letter, latin-1 the first of the foreign ones
posix = pytest.mark.skipif(os.name == "nt", reason="shells of Windows close no streams")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data whose name and titles are not ASCII."""
    events = pl.DataFrame({"user": [1, 1, 1, 2, 2, 2], "item": [1, 2, 3, 1, 3, 2], "time": range(6)})
    items = pl.DataFrame({"item": [1, 2, 3], "title": [TITLE] * 3})
    folder = tmp_path_factory.mktemp("foreign") / "data"
    Interactions.from_frame(events, items, meta=Meta(name=TITLE)).save(folder)
    return folder


def shell(command: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run `command` in a shell, in which `"$@"` is deftrec with the words."""
    return subprocess.run(
        ["bash", "-c", command, "bash", *START, *map(str, words)], capture_output=True, text=True, check=False
    )


@posix
@pytest.mark.parametrize("closed", ["2>&-", "2>&- <&-"])
def test_without_stderr_progress_is_not_in_the_json(foreign: Path, closed: str) -> None:
    done = shell(f'"$@" {closed}', "data", "describe", foreign, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == TITLE


@posix
def test_without_stdout_a_command_does_its_work(foreign: Path, tmp_path: Path) -> None:
    done = shell('"$@" >&-', "data", "describe", foreign, "--json-file", tmp_path / "x.json")
    assert (done.returncode, done.stderr) == (0, f"reading {foreign}\n")
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["name"] == TITLE


@posix
def test_a_file_that_a_stream_was_closed_for_is_not_written_to(foreign: Path, tmp_path: Path) -> None:
    """A script that is started without stderr has the script's own file as number 2, for reading only."""
    script = tmp_path / "script"
    script.write_text(f'exec "{sys.executable}" -m deftrec data describe {foreign} --json\n')
    done = shell(f"bash {script} 2>&-")
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == TITLE
    assert script.read_text().startswith("exec")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_every_encoding_can_write_every_letter(foreign: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["data", "describe", str(foreign), "--json"], ["data", "describe", str(foreign)]):
        screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", screen)
        assert main(words) == 0
        text = screen.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
        if "--json" in words:
            assert json.loads(text)["name"] == TITLE
        else:
            assert ("Am\\u00e9lie" if encoding == "ascii" else "Amélie") in text
            assert "\\u2588" not in text, "bars are drawn with letters of the encoding"


@posix
@pytest.mark.parametrize("words", [["options"], ["options", "--json"], ["data", "list"], ["train", "--help"]])
def test_a_reader_that_has_gone_ends_a_command_quietly(words: list[str]) -> None:
    done = shell('"$@" | true; exit ${PIPESTATUS[0]}', *words)
    assert (done.returncode, done.stderr) == (141, "")


@posix
def test_a_reader_of_progress_that_has_gone_ends_a_command_too(foreign: Path) -> None:
    assert shell('"$@" 2>&1 >&- | true; exit ${PIPESTATUS[0]}', "data", "describe", foreign).returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_under_stdout_is_an_error_and_under_stderr_is_none(foreign: Path) -> None:
    done = shell('"$@" > /dev/full', "data", "describe", foreign)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "error: standard output: No space left on device")
    done = shell('"$@" 2> /dev/full', "data", "describe", foreign, "--json")
    assert (done.returncode, json.loads(done.stdout)["name"]) == (0, TITLE)


@posix
@pytest.mark.parametrize("module", ["deftrec.cli", "typer", "polars", "deftrec.cli.update"])
def test_ctrl_c_during_imports_is_one_word(module: str) -> None:
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from deftrec.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "options"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@posix
def test_a_command_in_the_background_goes_on_after_ctrl_c() -> None:
    code = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); from deftrec.__main__ import main; "
    code += "os.kill(os.getpid(), signal.SIGINT); sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@posix
def test_an_interruption_inside_exec_has_the_same_code(tmp_path: Path) -> None:
    """Python would end by the signal: a KeyboardInterrupt once left an `exec`, as dataclasses use it."""
    code = (
        "import sys, deftrec.cli; from deftrec.__main__ import main\n"
        "def interrupted(*_): exec('raise KeyboardInterrupt')\n"
        "sys.modules['deftrec.cli.all_options']._options = interrupted\n"
        "sys.exit(main())\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script), "options"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_the_script_starts_where_ctrl_c_is_met() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"deftrec": "deftrec.__main__:main"}
    # Whoever starts tests in the background has SIGINT ignored.
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)


# -- titles and places ------------------------------------------------------------------------------------------------


def test_a_title_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences of a title could recolour a terminal, clear it or rename its window."""
    title = "A\x1b[2J\x1b]0;owned\x07B\x9b31mC\x7f"
    output().print(f"history: {title}", markup=False)
    output().print(recommendation_table([Recommendation("i1", title, 1.0, 1, "deftrec")]))
    shown = capsys.readouterr().out
    assert shown.replace("\n", "").isprintable()
    assert shown.count("A[2J]0;ownedB31mC") == 2


@posix
def test_a_working_directory_that_was_deleted_is_named(foreign: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = shell(f'cd {gone} && rmdir {gone} && "$@"', "data", "describe", foreign)
    assert done.returncode == 1
    assert done.stderr == "error: the working directory was deleted; change to another one\n"
