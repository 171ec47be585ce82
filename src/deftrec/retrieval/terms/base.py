"""The seam of the retrieval score: one class for each term of the sum."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.errors import DeftRecError
from deftrec.retrieval.queries import Queries


@dataclass(frozen=True, eq=False)
class ExtendedCatalogue:
    """A catalogue with N items added after training behind the I items of training.

    Attributes:
        latents: latents of all items. `[I + N, D]`
        confidence: confidence in the collaborative vector of each added item, from 0 (no interactions) towards 1. `[N]`
        sentences: sentence vectors of the added items; None: they were read as none. `[N, E]`
    """

    latents: Tensor
    confidence: Tensor
    sentences: Tensor | None = None


class ScoreTerm(ABC):
    """One term of the retrieval score.

    The score is the sum of the terms in order. To add a term, subclass this class as a dataclass, set `name` and
    implement `scores`. Subclasses register themselves under their name.

    Attributes:
        name: unique name, used in files, reports and explanations.
        explained: whether the term has a share in explanations; default true.
        reads_total: whether `scores` needs the sum of the terms before it; default false. Such a score cannot be served
            by an approximate index.
    """

    name: ClassVar[str]
    explained: ClassVar[bool] = True
    reads_total: ClassVar[bool] = False
    _registry: ClassVar[dict[str, type["ScoreTerm"]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in vars(cls):
            if ScoreTerm._registry.get(cls.name, cls).__qualname__ != cls.__qualname__:
                raise TypeError(f"{cls.__name__}: another score term has the name {cls.name!r}; choose another")
            ScoreTerm._registry[cls.name] = cls

    @abstractmethod
    def scores(self, queries: Queries, total: Tensor | None = None) -> Tensor:
        """The term's contribution to N queries: `[N, I]`, or `[I]` where it is the same for every query.

        `total` `[N, I]` is the sum of the terms before this one, for `reads_total`; None: there are none.
        """

    def applies(self, queries: Queries) -> bool:
        """Whether the term contributes to any of the queries. Default: it does."""
        return True

    def refitted(self, training: Sequences, device: torch.device) -> "ScoreTerm":
        """The term with the chosen settings, fitted on other interactions (train + validation). Default: unchanged."""
        return self

    def extended(self, catalogue: ExtendedCatalogue) -> "ScoreTerm":
        """The term for a catalogue with more items behind its own. Default: unchanged."""
        return self

    def settings(self) -> dict[str, Any]:
        """Values to save with a run, as JSON holds them. Default: the fields of a dataclass that are not tensors."""
        return {name: value for name, value in self._fields().items() if not isinstance(value, Tensor)}

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors to save with a run, by name. Default: the tensor fields of a dataclass."""
        return {name: value for name, value in self._fields().items() if isinstance(value, Tensor)}

    @classmethod
    def from_state(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """Rebuild a term from `settings` and `state_dict`. Default: pass both to the constructor."""
        return cls(**settings, **tensors)

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)} if is_dataclass(self) else {}

    @staticmethod
    def named(name: str) -> type["ScoreTerm"]:
        """The registered class of a name; a `DeftRecError` if no class of this name has been imported."""
        try:
            return ScoreTerm._registry[name]
        except KeyError:
            known = ", ".join(sorted(ScoreTerm._registry))
            raise DeftRecError(
                f"no score term {name!r}; import the module that defines it before loading the run (known: {known})"
            ) from None
