"""Options: few, each with a description that can be read alone."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deftrec import Config

MOST = 75 + 10 + 12
"""Those of the reasoner, its tuned blocks, and the forms of ways and masking; and those of kinds, values and times."""
SECOND_HAND = ("of ", "what ", "how ", "whose ", "who ", "the same", "likewise", "as ", "or ")


def options(group: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every option below `group` by its full name; kinds of one group may share a name."""
    for name, field in group.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        groups = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        for inner in groups:
            yield from options(inner, f"{prefix}{name}.")
        if not groups:
            yield prefix + name, field


OPTIONS = list(options(Config))


def test_there_are_few_options() -> None:
    assert len({name for name, _ in OPTIONS}) <= MOST


@pytest.mark.parametrize(("name", "field"), OPTIONS, ids=[name for name, _ in OPTIONS])
def test_a_description_can_be_read_alone(name: str, field: FieldInfo) -> None:
    about = field.description or ""
    assert about.endswith("."), "a sentence or a noun phrase with a full stop"
    assert about[0].isupper() or about.startswith(name.rpartition(".")[2])
    assert not about.lower().startswith(SECOND_HAND)


def test_the_softmax_is_full_up_to_three_samples() -> None:
    objective = Config().objective
    assert objective.full_softmax_limit == 3 * objective.sampled_items == 49_152
