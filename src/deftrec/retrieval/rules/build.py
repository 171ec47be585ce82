"""Rule objects of rules as users write them, for one catalogue."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from deftrec.errors import ConfigError
from deftrec.retrieval.rules.base import Allow, Deny, Rule
from deftrec.retrieval.rules.columns import ItemColumns, nearest
from deftrec.retrieval.rules.options import WITHIN, Condition, Pin, Quota, RuleOptions, Scaled
from deftrec.retrieval.rules.places import AtLeast, AtMost, Minimum, Pins
from deftrec.retrieval.rules.scores import NO_TIMES, Boost, ExcludeRecent, Freshness


def build_rules(options: Sequence[RuleOptions], columns: ItemColumns, *, timed: bool = True) -> tuple[Rule, ...]:
    """Rules for the catalogue of `columns`; those of places come last, whatever their order.

    Args:
        options: rules as users write them.
        columns: the catalogue.
        timed: whether histories have event times, as those of users of the data do.

    Raises a `ConfigError` for an unknown column, value or item, for two pins of one item or position, and for a rule
    that needs times where there are none.
    """
    changes = [rule for one in options if (rule := _score_rule(one, columns, timed)) is not None]
    quotas = [one.quota for one in options if one.quota is not None]
    limits = [_at_most(quota, columns) for quota in quotas if quota.at_most is not None]
    minimums = [_minimum(quota, columns) for quota in quotas if quota.at_least is not None]
    pins = [one.pin for one in options if one.pin is not None]
    return (
        *changes,
        *limits,
        *((AtLeast(minimums),) if minimums else ()),
        *((_pins(pins, columns),) if pins else ()),
    )


def _score_rule(one: RuleOptions, columns: ItemColumns, timed: bool) -> Rule | None:
    """The rule that changes scores; None for a rule of places."""
    if one.allow is not None:
        return Allow(columns.items(one.allow).nonzero()[:, 0], f"allow: {one.allow}")
    if one.deny is not None:
        return Deny(columns.items(one.deny).nonzero()[:, 0], f"deny: {one.deny}")
    if one.boost is not None:
        return _scaled(one.boost, columns, f"boost x{one.boost.factor:g}", f"boosted x{one.boost.factor:g}", 1.0)
    if one.bury is not None:
        return _scaled(one.bury, columns, f"bury /{one.bury.factor:g}", f"buried /{one.bury.factor:g}", -1.0)
    if one.fresh is not None:
        age = torch.from_numpy(columns.age).float()
        days = one.fresh.half_life
        return Freshness(-math.log(2) / days * age, f"fresh: half-life {days:g} days", "freshness")
    if one.exclude is not None:
        recent = ExcludeRecent(one.exclude.seen, columns.newest, f"exclude: seen within {one.exclude.seen:g} days")
        if not timed:
            raise ConfigError(NO_TIMES.format(recent.text))
        return recent
    return None


def _scaled(one: Scaled, columns: ItemColumns, text: str, done: str, sign: float) -> Boost:
    # Without the factor, so that one condition has one place in the cache.
    condition = Condition.model_construct(**{**one.model_dump(by_alias=True, exclude={"factor"})})
    return Boost(columns.items(condition) * (sign * math.log(one.factor)), f"{text}: {one}", f"{done}: {one}")


def _at_most(quota: Quota, columns: ItemColumns) -> AtMost:
    assert quota.at_most is not None
    condition = quota.condition
    if condition is None:
        assert quota.column is not None
        names, codes = columns.values(quota.column)
        names = [f"{quota.column} {name}" for name in names]
        text = f"quota: each {quota.column} at most {quota.at_most}"
    else:
        names, codes = [str(condition)], columns.items(condition).numpy().astype(np.int32)[:, None] - 1
        text = f"quota: {condition} at most {quota.at_most}"
    return AtMost(names, codes, quota.at_most, quota.within, text)


def _minimum(quota: Quota, columns: ItemColumns) -> Minimum:
    assert quota.at_least is not None
    assert quota.condition is not None
    members = columns.items(quota.condition).numpy()
    return Minimum(
        members, quota.at_least, quota.within or WITHIN, f"quota: {quota.condition} at least {quota.at_least}"
    )


def _pins(pins: Sequence[Pin], columns: ItemColumns) -> Pins:
    numbers, places, names = columns.interactions.number_of_item, dict[int, int](), dict[int, str]()
    for pin in pins:
        if (number := numbers.get(pin.item)) is None:
            raise ConfigError(f"pin: item {pin.item[:64]!r} is not in the catalogue{nearest(pin.item, numbers)}")
        if number in names:
            raise ConfigError(f"pin: item {pin.item!r} has two positions; leave one")
        if pin.position - 1 in places:
            raise ConfigError(f"pin: two items are fixed at position {pin.position}; move one")
        places[pin.position - 1], names[number] = number, pin.item
    return Pins(places, names)
