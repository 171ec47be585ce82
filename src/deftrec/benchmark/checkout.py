"""Uncommitted changes of the git checkout that the code runs from: a revision alone does not name such code."""

import hashlib
import subprocess
from pathlib import Path
from typing import NamedTuple

from deftrec.files import write_text

PACKAGE = Path(__file__).resolve().parents[1]
PEERS_FOLDER = Path("benchmarks", "peers")


class UncommittedChanges(NamedTuple):
    """Difference between a checkout (its top folder) and its last commit: `git diff HEAD`, and untracked files."""

    checkout: Path
    diff: str
    untracked: tuple[str, ...]

    def write(self, folder: Path) -> str:
        """Store the changes in `folder` as a patch with the untracked files listed on top, and return its name."""
        text = "".join(f"# untracked: {name}\n" for name in self.untracked) + self.diff
        name = f"uncommitted-{hashlib.sha256(text.encode()).hexdigest()[:8]}.patch"
        write_text(folder / name, text)
        return name


def uncommitted_changes(package: Path = PACKAGE) -> UncommittedChanges | None:
    """Find changes that the revision of the checkout of the folder `package` does not contain.

    Untracked files count only where the code is: in the package and among the scripts of the peers. Returns the
    changes; None for a clean checkout, and outside a checkout, where the version names the code.
    """
    top = _git(package, "rev-parse", "--show-toplevel")
    if top is None or not _git(package, "ls-files", "--", "."):  # installed inside another project's checkout
        return None
    checkout = Path(top.strip())
    diff = _git(checkout, "diff", "HEAD") or ""
    untracked = tuple((_git(checkout, "ls-files", "--others", "--exclude-standard") or "").splitlines())
    code = (package.resolve(), checkout.resolve() / PEERS_FOLDER)
    if not diff and not any((checkout.resolve() / name).is_relative_to(place) for name in untracked for place in code):
        return None
    return UncommittedChanges(checkout, diff, untracked)


def _git(folder: Path, *words: str) -> str | None:
    """Output of a git command; None where git is absent, fails, or `folder` is in no checkout."""
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
