"""Train DeftRec with one of its parts replaced by a study's own.

A study subclasses `DeftRec`, overrides a factory method, and passes the class to `replaced`. A variant of
`studies.ablation` names a function that does so as its `patch`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from deftrec import ensemble
from deftrec.model import DeftRec


@contextmanager
def replaced(model: type[DeftRec]) -> Iterator[None]:
    """Inside the block, runs are trained and loaded with `model` in place of `DeftRec`."""
    with patch.object(ensemble, "DeftRec", model):
        yield
