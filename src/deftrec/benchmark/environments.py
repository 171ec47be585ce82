"""Python environments of peers, created on demand from pinned requirements and reused by later runs."""

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from shutil import rmtree

from deftrec.data.download import default_home
from deftrec.errors import DeftRecError


def environment_python(requirements: Path, home: Path | None = None) -> Path:
    """Find or create an environment with exactly `requirements`, and return its interpreter.

    Its folder is `home/environments/NAME-HASH`, with a hash of the requirements and of this Python's version; `home` is
    `default_home()` unless given. It is built under another name and renamed when complete: then its interpreter works,
    its scripts in `bin` hold the old path. Of two processes that build it, one environment is kept. Raises a
    `DeftRecError` if the environment could not be created; the message holds pip's reason.
    """
    place = _place(requirements, home)
    if not _python(place).exists():  # missing, or its Python was removed
        rmtree(place, ignore_errors=True)
        _make(place, requirements)
    return _python(place)


def environment_exists(requirements: Path, home: Path | None = None) -> bool:
    """Tell whether the environment of `requirements` exists already."""
    return _python(_place(requirements, home)).exists()


def _place(requirements: Path, home: Path | None) -> Path:
    version = ".".join(map(str, sys.version_info[:3]))
    content = f"{version} {sys.platform}\n{requirements.read_text(encoding='utf-8')}"
    digest = hashlib.sha256(content.encode()).hexdigest()
    return (home or default_home()) / "environments" / f"{requirements.parent.name}-{digest[:16]}"


def _make(place: Path, requirements: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".tmp", dir=place.parent))
    try:
        try:
            venv.create(building, with_pip=True, symlinks=os.name != "nt")
        except (OSError, subprocess.CalledProcessError) as error:
            reason = f"{building}: no environment could be created for {requirements} ({error})"
            raise DeftRecError(f"{reason}; install the venv module of this Python (Debian: python3-venv)") from error
        # Peers pin versions of their own: constraints of the surrounding installation do not apply.
        surroundings = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
        pip = [str(_python(building)), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command = [*pip, "--only-binary", ":all:", "-r", str(requirements)]
        run = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)  # noqa: S603
        if run.returncode:
            reasons = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
            reason = (reasons or run.stderr.splitlines() or ["no reason given"])[-1]
            once = f"it needs a package registry once, later runs use the environment in {place.parent}"
            raise DeftRecError(f"pip could not install {requirements} ({reason}); {once}")
        try:
            building.rename(place)
        except OSError:
            if not place.is_dir():
                raise
    finally:
        rmtree(building, ignore_errors=True)


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
