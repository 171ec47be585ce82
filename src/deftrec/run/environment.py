"""Versions, machine and revision of the code, for the record of a run."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """Versions and machine, for the record."""
    values = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("deftrec", "torch", "transformers", "peft", "accelerate", "polars"):
        try:
            values[package] = version(package)
        except PackageNotFoundError:
            values[package] = "not installed"
    values["threads"] = str(torch.get_num_threads())
    if torch.cuda.is_available():
        values["gpu"] = torch.cuda.get_device_name()
    return values


def git_output(folder: Path, *words: str) -> str | None:
    """Output of a git command; None where git is absent, fails, or `folder` is in no checkout."""
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def checkout_of(package: Path) -> Path | None:
    """Top folder of the git checkout of `package`; None elsewhere, also where it is installed in another's checkout."""
    top = git_output(package, "rev-parse", "--show-toplevel")
    return Path(top.strip()) if top and git_output(package, "ls-files", "--", ".") else None


def git_revision(package: Path = PACKAGE) -> str | None:
    """Revision of the git checkout of this code; None elsewhere."""
    checkout = checkout_of(package)
    found = None if checkout is None else git_output(checkout, "describe", "--always", "--dirty", "--exclude", "*")
    return None if found is None else found.strip()
