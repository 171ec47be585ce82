"""Python environments for peers: made on demand from pinned requirements, kept, and shared between runs."""

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
    """The interpreter of an environment that has exactly `requirements`; the environment is made if there is none.

    It is kept in `home/environments` under a hash of the requirements and of this Python's version, and appears there
    only when complete: it is built beside its place and renamed. Whoever loses a race uses the winner's. A
    renamed environment is sound as long as only its interpreter is used (the scripts in `bin` name the old place).

    Args:
        requirements: a pip requirements file with exact versions.
        home: default `default_home()`.

    Raises:
        DeftRecError: the environment could not be made; the message carries pip's reason.
    """
    place = _place(requirements, home or default_home())
    if not environment_exists(requirements, home):  # never made, or the Python it links to has been removed since
        rmtree(place, ignore_errors=True)
        _make(place, requirements)
    return _python(place)


def environment_exists(requirements: Path, home: Path | None = None) -> bool:
    """Whether `environment_python` would find an environment, and not have to make one."""
    return _python(_place(requirements, home or default_home())).exists()


def _place(requirements: Path, home: Path) -> Path:
    version = ".".join(map(str, sys.version_info[:3]))
    digest = hashlib.sha256(
        f"{version} {sys.platform}\n{requirements.read_text(encoding='utf-8')}".encode()
    ).hexdigest()
    return home / "environments" / f"{requirements.parent.name}-{digest[:16]}"


def _make(place: Path, requirements: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".tmp", dir=place.parent))
    try:
        try:
            venv.create(building, with_pip=True, symlinks=os.name != "nt")
        except (OSError, subprocess.CalledProcessError) as error:
            raise DeftRecError(
                f"{building}: no environment could be made for {requirements} ({error}); "
                f"install the venv module of this Python (Debian: python3-venv)"
            ) from error
        # The peers' versions are their own: constraints of the surrounding installation do not apply to them.
        surroundings = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
        pip = [str(_python(building)), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run = subprocess.run(  # noqa: S603 - our own interpreter and our own file
            [*pip, "--only-binary", ":all:", "-r", str(requirements)],
            capture_output=True,
            text=True,
            env=surroundings,
            check=False,
        )
        if run.returncode:
            reasons = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
            reason = (reasons or run.stderr.splitlines() or ["no reason given"])[-1]
            raise DeftRecError(
                f"pip could not install {requirements} ({reason}); it needs a package registry once, "
                f"afterwards the environment in {place.parent} is used"
            )
        try:
            building.rename(place)
        except OSError:
            if not place.is_dir():
                raise
    finally:
        rmtree(building, ignore_errors=True)


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
