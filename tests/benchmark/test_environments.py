"""Environments of peers: made once, found again, never half there."""

import sys
import types
from pathlib import Path

import pytest

from deftrec.benchmark import peers as environments
from deftrec.errors import DeftRecError


def test_pip_without_a_registry_is_a_clear_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "requirements.txt").write_text("numpy==2.4.6\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(DeftRecError, match=r"pip could not install .*numpy==2.4.6.*; it needs a package registry once"):
        environments.environment_python(tmp_path / "requirements.txt", home=tmp_path / "home")
    assert list((tmp_path / "home" / "environments").iterdir()) == []


def test_an_environment_is_made_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def make(place: Path, requirements: Path) -> None:
        made.append(place)
        assert not place.exists()
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(environments, "_make", make)
    requirements = tmp_path / "family" / "requirements.txt"
    requirements.parent.mkdir()
    requirements.write_text("numpy==2.4.6\n")
    first = environments.environment_python(requirements, home=tmp_path)
    assert environments.environment_python(requirements, home=tmp_path) == first
    requirements.write_text("numpy==2.4.5\n")
    assert not environments._place(requirements, tmp_path).exists()
    other = environments.environment_python(requirements, home=tmp_path)
    assert environments._place(requirements, tmp_path).exists()
    assert other != first
    assert len(made) == 2
    assert made[0].name.startswith("family-")
    other.unlink()
    other.symlink_to(tmp_path / "a Python that is gone")
    assert environments.environment_python(requirements, home=tmp_path) == other
    assert made[2] == made[1]


def test_a_race_for_an_environment_has_one_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "environments" / "family-0"
    (tmp_path / "requirements.txt").write_text("")

    def slow(building: Path, **options: object) -> None:
        place.mkdir()  # somebody else was faster
        (place / "theirs").touch()

    monkeypatch.setattr(environments.venv, "create", slow)
    done = types.SimpleNamespace(returncode=0)
    monkeypatch.setattr(environments.subprocess, "run", lambda *arguments, **options: done)
    environments._make(place, tmp_path / "requirements.txt")
    assert [file.name for file in place.iterdir()] == ["theirs"]
    assert [folder.name for folder in place.parent.iterdir()] == ["family-0"]
