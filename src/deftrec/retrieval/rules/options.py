"""Rules as users write them, in YAML, JSON or Python: a list of mappings with one key each."""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from deftrec.errors import ConfigError
from deftrec.recipe import read_yaml

UNITS = {"hour": 1 / 24, "day": 1.0, "week": 7.0}  # days
DURATION = r"^\s*(\d{1,6}(?:\.\d{1,6})?)\s*(hour|day|week)s?\s*$"
VALUES, LENGTH = 1000, 256  # values of a condition, and letters of each
PLACES = 10_000  # last position that a rule may name
WITHIN = 10  # places that a minimum counts over by default


def _days(value: object) -> float:
    """Days of a duration such as "30 days"."""
    found = re.match(DURATION, value) if isinstance(value, str) else None
    if found is None or not float(found[1]):
        raise ValueError("a duration is a number and a unit, such as 30 days (hours, days or weeks)")
    return float(found[1]) * UNITS[found[2]]


def _several(value: object) -> object:
    """One value stands for a list of it."""
    return value if isinstance(value, list | tuple) else (value,)


def _as_text(value: object) -> object:
    """Numbers and truth values are compared as text: 7 is "7", true is "true"."""
    if isinstance(value, bool | int | float) and abs(value) < 2.0**64:
        return str(value).lower() if isinstance(value, bool) else f"{value:.17g}"
    return value


Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=LENGTH)]
Word: TypeAlias = Annotated[str, StringConstraints(pattern=r"\w", max_length=LENGTH)]
Value: TypeAlias = Annotated[
    Name,
    BeforeValidator(_as_text),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "minLength": 1, "maxLength": LENGTH}, {"type": "number"}, {"type": "boolean"}]}
    ),
]
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Factor: TypeAlias = Annotated[float, Field(gt=1, le=1e6)]
Days: TypeAlias = Annotated[
    float, BeforeValidator(_days), WithJsonSchema({"type": "string", "pattern": DURATION, "examples": ["30 days"]})
]


class Part(BaseModel, frozen=True, extra="forbid"):
    """Base of everything in a rule; an unknown key is refused, and the nearest valid one named."""

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in values if isinstance(values, dict) else ():
            if key not in known:
                near = difflib.get_close_matches(str(key)[:64], known, n=1, cutoff=0.0)
                raise ValueError(f"unknown key {str(key)[:64]!r}; did you mean {near[0]!r}?")
        return values

    def given(self, *names: str) -> list[str]:
        """Those of the fields `names` that have a value."""
        return [name for name in names if getattr(self, name) is not None]


class Items(Part, frozen=True):
    """Items by a column of the catalogue, or by their age."""

    column: Name | None = Field(None, description="column of the catalogue, popularity or age")
    is_: Annotated[tuple[Value, ...], BeforeValidator(_several), Field(min_length=1, max_length=VALUES)] | None = Field(
        None, alias="is", description="value of the column, or several of which an item has one"
    )
    words: Annotated[tuple[Word, ...], BeforeValidator(_several), Field(min_length=1, max_length=VALUES)] | None = (
        Field(None, description="words or phrases in the column, in any case, of which an item has one")
    )
    new: Days | None = Field(None, description="items whose first event is at most so long ago, instead of a column")


class Condition(Items, frozen=True):
    """A condition that an item meets or not."""

    at_least: Number | None = Field(None, description="smallest number in the column")
    at_most: Number | None = Field(None, description="largest number in the column")

    @model_validator(mode="after")
    def _is_one_condition(self) -> Self:
        tests = self.given("is_", "words", "at_least", "at_most")
        if self.new is not None:
            if self.column is not None or tests:
                raise ValueError("new stands alone; leave out column and its tests")
        elif self.column is None:
            raise ValueError("give a column, or new")
        elif len(tests) != 1 and tests != ["at_least", "at_most"]:
            raise ValueError("give one of is, words, and at_least or at_most")
        return self

    def __str__(self) -> str:
        if self.new is not None:
            return f"new within {self.new:g} days"
        if self.is_ is not None:
            return f"{self.column} {_listed(self.is_)}"
        if self.words is not None:
            return f"{self.column} with {_listed(self.words)}"
        ends = {"at least": self.at_least, "at most": self.at_most}
        return f"{self.column} {' and '.join(f'{end} {limit:g}' for end, limit in ends.items() if limit is not None)}"


class Scaled(Condition, frozen=True):
    """A condition, and the factor of the probability of items that meet it."""

    factor: Factor = Field(description="above 1; a boost multiplies by it, a bury divides")


class Fresh(Part, frozen=True):
    """Items lose probability with their age."""

    half_life: Days = Field(description="age at which the probability is halved")


class Quota(Items, frozen=True):
    """Limits of the number of items that meet a condition, or that share a value of a column."""

    where: Condition | None = Field(None, description="any condition, instead of column or new")
    at_least: int | None = Field(None, ge=1, le=PLACES, description="as many items of the condition, if there are")
    at_most: int | None = Field(None, ge=1, le=PLACES, description="no more items of the condition or of each value")
    within: int | None = Field(
        None, ge=1, le=PLACES, description=f"first places that are counted; default: {WITHIN} for at_least, else all"
    )

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        limits, tests = self.given("at_least", "at_most"), self.given("is_", "words")
        if not limits:
            raise ValueError("give at_least, at_most or both")
        if len(self.given("column", "new", "where")) != 1 or len(tests) > 1 or (tests and self.column is None):
            raise ValueError("give a column (with is or words, or alone), new, or where")
        if self.condition is None and self.at_least is not None:
            raise ValueError("at_least needs a condition; add is or words")
        if self.at_least is not None and self.at_least > (self.within or WITHIN):
            raise ValueError(f"at least {self.at_least} of the first {self.within or WITHIN} cannot be; raise within")
        if len(limits) == 2 and (self.at_least or 0) > (self.at_most or 0):
            raise ValueError("at_least is above at_most")
        return self

    @property
    def condition(self) -> Condition | None:
        """The condition; None if each value of the column is counted by itself."""
        if self.where is not None or (self.column is not None and self.is_ is None and self.words is None):
            return self.where
        valid: dict[str, Any] = {"column": self.column, "is": self.is_, "words": self.words, "new": self.new}
        return Condition.model_construct(**valid)


class Exclude(Part, frozen=True):
    """Items that the user interacted with lately."""

    seen: Days = Field(description="time before the newest event")


class Pin(Part, frozen=True):
    """An item at a fixed position."""

    item: Value = Field(description="id of the item")
    position: int = Field(ge=1, le=PLACES, description="position in the list, from 1")


class RuleOptions(Part, frozen=True, json_schema_extra={"minProperties": 1, "maxProperties": 1}):
    """One rule: a mapping with one key."""

    allow: Condition | None = Field(None, description="recommend only items that meet the condition")
    deny: Condition | None = Field(None, description="recommend no item that meets the condition")
    boost: Scaled | None = Field(None, description="multiply the probability of items that meet the condition")
    bury: Scaled | None = Field(None, description="divide the probability of items that meet the condition")
    fresh: Fresh | None = Field(None, description="halve the probability of an item with every half-life of its age")
    quota: Quota | None = Field(None, description="limit the number of items of a kind")
    exclude: Exclude | None = Field(None, description="leave out items that the user interacted with lately")
    pin: Pin | None = Field(None, description="put an item at a fixed position")

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        if len(self.given(*type(self).model_fields)) != 1:
            raise ValueError(f"a rule has one key, one of {', '.join(type(self).model_fields)}")
        return self


def read_rules(path: str | Path) -> tuple[RuleOptions, ...]:
    """The rules in a YAML file; a `ConfigError` names the file, the number of the rule and the key."""
    values = read_yaml(Path(path))
    return parse_rules([] if values is None else values, str(path))


def parse_rules(values: Any, source: str = "rules") -> tuple[RuleOptions, ...]:
    """Rules of a list of mappings or `RuleOptions`; a `ConfigError` after `source` names rule and key."""
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise ConfigError(f"{source}: rules are a list of mappings with one key each, not {values!r:.80}")
    rules = []
    for number, value in enumerate(values, start=1):
        try:
            rules.append(RuleOptions.model_validate(value))
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"])
            given = "" if problem["type"] == "value_error" else f", not {problem['input']!r:.80}"
            message = problem["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{source}: rule {number}: {key and key + ': '}{message}{given}") from error
    return tuple(rules)


def _listed(values: tuple[str, ...]) -> str:
    """The first three values, and how many more there are."""
    return ", ".join(values[:3]) + (f" or {len(values) - 3} more" if len(values) > 3 else "")
