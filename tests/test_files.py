"""Atomic writes under kills, threads and umasks, and locks between processes."""

import errno
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deftrec import files
from deftrec.errors import UnwritableError
from deftrec.files import atomic_directory, atomic_path, locked, recover, write_json, write_text


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


# -- links, devices, directories -------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_device_or_pipe_is_written_into_and_stays(tmp_path: Path) -> None:
    named, read = tmp_path / "pipe", list[str]()
    os.mkfifo(named)
    reader = threading.Thread(target=lambda: read.append(named.read_text(encoding="utf-8")))
    reader.start()
    write_text(named, "words")
    reader.join()
    assert read == ["words"]
    assert named.is_fifo(), "a file in its place would end every other use: of /dev/null for the whole machine"
    assert [one.name for one in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files there")
def test_an_open_file_such_as_dev_stdout_is_appended_to(tmp_path: Path) -> None:
    with (tmp_path / "redirected").open("w", encoding="utf-8") as stream:
        stream.write("before\n")
        stream.flush()
        link = tmp_path / "stdout"
        link.symlink_to(f"/proc/self/fd/{stream.fileno()}")
        write_text(link, "words\n")
        assert link.is_symlink()
        write_text(f"/proc/self/fd/{stream.fileno()}", "more\n")
    assert (tmp_path / "redirected").read_text(encoding="utf-8") == "before\nwords\nmore\n"


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write_text(tmp_path / "elsewhere" / "file", "old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "file")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_text(encoding="utf-8") == "new"
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with atomic_directory(tmp_path / "run") as temporary:
        write_text(temporary / "other", "words")
    assert (tmp_path / "run").is_symlink()
    assert [one.name for one in (tmp_path / "elsewhere").iterdir()] == ["other"]
    assert {one.name for one in tmp_path.iterdir()} == {"elsewhere", "link", "run"}


@pytest.mark.parametrize("name", [".", "directory"])
def test_a_directory_is_no_file_to_write(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    with pytest.raises(UnwritableError, match=rf"^{re.escape(name)}: is a directory; name a file, such as "):
        write_text(name, "words")
    assert not list((tmp_path / "directory").iterdir())


# -- permissions -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("umask")
def test_new_files_and_directories_have_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "words")
    with atomic_directory(tmp_path / "directory") as temporary:
        (temporary / "inner").mkdir()
        write_text(temporary / "inner" / "file", "words")
    with atomic_path(tmp_path / "replaced") as path:  # as writers do that write and rename themselves
        private = path.with_name("private")
        private.touch(mode=0o600)
        private.replace(path)
    assert mode(tmp_path / "file") == mode(tmp_path / "directory" / "inner" / "file") == 0o640
    assert mode(tmp_path / "replaced") == 0o640
    assert mode(tmp_path / "directory") == mode(tmp_path / "directory" / "inner") == 0o750


@pytest.mark.usefixtures("umask")
def test_the_umask_of_the_process_is_not_touched_while_other_threads_make_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(value: int) -> int:
        raise AssertionError(f"umask({value:o})")

    with monkeypatch.context() as patched:
        patched.setattr(os, "umask", touched)
        threads = [threading.Thread(target=write_text, args=(tmp_path / str(n), "words")) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {mode(path) for path in tmp_path.iterdir()} == {0o640}
    assert len(list(tmp_path.iterdir())) == 8


# -- on the disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were flushed to disk, and the renames, in their order."""
    done: list[str] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def watched_fsync(descriptor: int) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def watched_rename(old: Path, new: Path) -> None:
        done.append(f"rename to {Path(new).name}")
        rename(old, new)

    def watched_replace(old: Path, new: Path) -> None:
        done.append(f"rename to {Path(new).name}")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched_rename)
    monkeypatch.setattr(os, "replace", watched_replace)
    return done


def test_a_directory_is_on_the_disk_with_all_in_it_before_it_has_its_name(tmp_path: Path, flushed: list[str]) -> None:
    with atomic_directory(tmp_path / "run") as temporary:
        (temporary / "inner" / "deep").mkdir(parents=True)
        (temporary / "inner" / "deep" / "weights").touch()
        (temporary / "nowhere").symlink_to("missing")
        new = temporary.name
    assert flushed == ["weights", "deep", "inner", new, "rename to run", tmp_path.name]


def test_a_file_and_the_directory_that_names_it_are_on_the_disk(tmp_path: Path, flushed: list[str]) -> None:
    with atomic_path(tmp_path / "file") as temporary:
        pass
    assert flushed == [temporary.name, "rename to file", tmp_path.name]


# -- killed ----------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from deftrec.files import atomic_directory

rename, left = os.rename, int(sys.argv[2])

def until(old, new):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    rename(old, new)

os.rename = until
with atomic_directory(sys.argv[1]) as temporary:
    (temporary / "state").write_text("new")
"""


def kill_after(renames: int, path: Path) -> None:
    """Replace a directory in a process that is killed when it has renamed so often."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(renames)], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("renames", "state"), [(0, "old"), (1, "old"), (2, "new")])
def test_a_directory_outlives_a_kill_at_every_step_of_its_replacement(renames: int, state: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    path.mkdir()
    (path / "state").write_text("old")
    kill_after(renames, path)
    assert path.is_dir() == (renames != 1)
    assert (recover(path) / "state").read_text() == state
    with atomic_directory(path) as temporary:
        (temporary / "state").write_text("newest")
    assert (recover(path) / "state").read_text() == "newest"


def test_a_directory_that_was_moved_aside_and_is_written_again_is_not_lost_if_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    path.mkdir()
    kill_after(1, path)
    with pytest.raises(KeyError), atomic_directory(path):
        raise KeyError
    assert path.is_dir()


def test_only_its_own_directory_is_put_back_and_none_that_was_deleted(tmp_path: Path) -> None:
    for name in ("run", "run.old"):
        with atomic_directory(tmp_path / name) as temporary:
            (temporary / "state").write_text(name)
    kill_after(1, tmp_path / "run.old")
    (tmp_path / "run" / "state").unlink()
    (tmp_path / "run").rmdir()
    assert not recover(tmp_path / "run").exists()
    assert (recover(tmp_path / "run.old") / "state").read_text() == "run.old"
    assert not recover(tmp_path / "no" / "such").exists()


def test_a_reader_that_recovers_in_the_midst_of_a_replacement_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename = tmp_path / "entry", os.rename
    write_text(path / "state", "old")
    seen = []

    def reading(old: Path, new: Path) -> None:
        rename(old, new)
        if not seen and not path.exists():
            seen.append((recover(path) / "state").read_text())

    monkeypatch.setattr(os, "rename", reading)
    with atomic_directory(path) as temporary:
        (temporary / "state").write_text("new")
    assert seen == ["old"]
    assert (path / "state").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


# -- locks -----------------------------------------------------------------------------------------------------------

HOLDING = """
import sys, time
from deftrec.files import locked
with locked(sys.argv[1], wait=False):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "directory", "missing"])
def test_a_lock_keeps_other_processes_out_and_ends_with_its_process(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    if kind == "file":
        path.write_text("content")
    if kind == "directory":
        path.mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        got: list[bool] = []
        waiting = threading.Thread(target=lambda: got.append(entered(path)))
        waiting.start()
        waiting.join(0.3)
        assert not got
        other.kill()
        waiting.join(30)
        assert got == [True]
    assert list(tmp_path.iterdir()) == ([] if kind == "missing" else [path])
    assert kind != "file" or path.read_text() == "content"


def entered(path: Path) -> bool:
    with locked(path, wait=True):
        return True


COUNTING = """
import sys
from pathlib import Path
from deftrec.files import locked
file = Path(sys.argv[1])
for _ in range(50):
    with locked(file, wait=True):
        file.write_text(str(int(file.read_text()) + 1))
"""


def test_no_two_processes_hold_a_lock_whose_file_comes_and_goes(tmp_path: Path) -> None:
    file = tmp_path / "count"
    file.write_text("0")
    several = [subprocess.Popen([sys.executable, "-c", COUNTING, str(file)]) for _ in range(4)]
    assert [one.wait(60) for one in several] == [0] * 4
    assert file.read_text() == "200"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("there", [False, True])
def test_where_nothing_can_be_locked_it_is_said(
    code: int, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def unlockable(descriptor: int, operation: int) -> None:
        if operation != fcntl.LOCK_UN:
            raise OSError(code, "No locks available")

    if there:
        (tmp_path / ".run.lock").touch()
    monkeypatch.setattr(fcntl, "flock", unlockable)
    monkeypatch.setattr(files, "_mount", lambda path: Path("/mnt/share"))
    said = r"run: cannot be locked \(.*mounted at /mnt/share\); "
    for wait in (False, True):
        entered = False
        with (
            pytest.warns(RuntimeWarning, match=f"{said}a second process"),
            locked(tmp_path / "run", wait=wait, needed=False),
        ):
            entered = True
        assert entered
        with pytest.raises(UnwritableError, match=f"{said}use a directory"), locked(tmp_path / "run", wait=wait):
            pass
    monkeypatch.undo()
    with locked(tmp_path / "run", wait=False):  # nothing is left that would outlive a process
        pass


def test_the_mount_that_is_named_is_a_mount(tmp_path: Path) -> None:
    assert files._mount(tmp_path / "missing").is_mount()
    assert tmp_path.is_relative_to(files._mount(tmp_path / "missing"))


def test_a_lock_in_a_directory_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "no" / "run", wait=False, needed=False):
        pass
    assert list(tmp_path.iterdir()) == []


# -- JSON ------------------------------------------------------------------------------------------------------------


def test_json_refuses_what_other_programs_cannot_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ä": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "ä": 1\n}\n'
    assert len(list(tmp_path.iterdir())) == 1
