"""Records of a run: what was requested, and what came of it."""

from typing import Any, Literal

import torch
from pydantic import BaseModel, Field

from deftrec.attributes import AttributeEncoder, attributes_width
from deftrec.config import Config
from deftrec.data import Fit
from deftrec.pretrained_files.origin import Origin

FORMAT: Literal[3] = 3  # format of the run directory


class FittedOn(BaseModel, frozen=True, extra="forbid"):
    """Data and duration of a training.

    Attributes:
        dataset, fingerprint: name of the data, and fingerprint of its interactions.
        fit: interactions that the weights were fitted on.
        epochs: epochs of the kept weights, by stage.
    """

    dataset: str
    fingerprint: str
    fit: Fit
    epochs: dict[str, int]


class Provenance(FittedOn):
    """Identity of the run whose weights training continued from, with the SHA-256 over these `weights`."""

    weights: str


class Request(BaseModel, frozen=True, extra="forbid"):
    """The request of a training; an interrupted run is resumed by the same request only.

    `threads` may differ: their number decides the last digits of sums, so the command line resumes with the same one.
    """

    config: Config
    fingerprint: str
    refit: bool
    start: Provenance | None = None
    threads: int = Field(default_factory=torch.get_num_threads)


class ReasonerInfo(BaseModel, frozen=True, extra="forbid"):
    """Record of a reasoner.

    Attributes:
        base: its pre-trained language model.
        identity: key of its statements in the store.
        validation: NDCG@10 of the latent score on the validation users read, without a residual (`none`) and after each
            of its stages; the statements' stage has fewer users.
    """

    base: Origin
    identity: str
    validation: dict[str, float]


class RunInfo(FittedOn):
    """Record of a finished training.

    Attributes:
        format: format of the directory.
        collaborative_width, text_width: columns of the two blocks of item features.
        attributes: encoders of the items' attributes, whose columns are the third block; empty: there are none.
        terms: settings of every fitted score term by name, and `active`: whether validation gave it a weight.
        validation: NDCG@10 of the joint stage on validation, latent score alone.
        history: losses and validation metrics, by stage and epoch.
        seconds: seconds by stage, over all resumptions.
        environment: versions and machine.
        revision: git revision of the code, if it ran from a checkout.
        base: pre-trained language model whose unchanged weights are not in the directory; None without one.
        sentences: sentence model that read the items' text; None where no text was read.
        start: run whose weights training continued from; None for a training from scratch.
        reasoner: record of the reasoner; None without one.
    """

    format: Literal[3] = FORMAT
    collaborative_width: int
    text_width: int
    attributes: tuple[AttributeEncoder, ...] = ()
    terms: dict[str, dict[str, Any]]
    validation: float
    history: dict[str, list[dict[str, float]]]
    seconds: dict[str, float]
    parameters: int
    environment: dict[str, str]
    revision: str | None
    base: Origin | None = None
    sentences: Origin | None = None
    start: Provenance | None = None
    reasoner: ReasonerInfo | None = None

    @property
    def widths(self) -> tuple[int, int, int]:
        """Columns of the three blocks of item features: collaborative, text, attributes."""
        return self.collaborative_width, self.text_width, attributes_width(self.attributes)
