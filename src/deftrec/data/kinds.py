"""Roles of interactions: what is recommended, what is only read, and what shows that the user dislikes an item."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from deftrec.data.interactions import Interactions
from deftrec.data.sequences import CONTEXT, NEGATIVE, NEUTRAL, PADDING, TARGET
from deftrec.errors import ConfigError, DataError

Role: TypeAlias = Literal["target", "context", "negative", "ignored"]
"""`target`: may be recommended and predicted. `context`: read, never predicted. `negative`: disliked; read as such,
not recommended while seen items are excluded, a hard negative of the objective. `ignored`: left out."""

TIERS = (
    """purchase purchased purchases buy bought order ordered orders transaction transactions sale sold paid like
    liked likes upvote thumbup thumbsup love loved rate rated rating ratings review reviewed subscribe
    subscribed book booked stream streamed finish finished complete completed""",
    """addtocart addtobasket addtowishlist addtofavorites addtofavourites cart basket add added favourite favorite
    favourites favorites wishlist wish bookmark bookmarked save saved checkout payment shipping share shared
    follow followed download downloaded""",
    """view viewed views click clicked clicks open opened select selected detail details page pageview pageviews
    impression impressions promotion list visit visited read search watch watched play played listen listened
    show shown hover""",
)
"""Words in names of kinds, the strongest first: the strongest that the data have are targets, the others context."""

DISLIKES = """removefromcart removefrombasket removefromwishlist dislike disliked dislikes downvote thumbdown
    thumbsdown skip skipped skips remove removed return returned returns refund refunded refunds hide
    hidden block blocked unlike unfollow cancel cancelled canceled not report reported delete deleted
    reject rejected hate hated"""
"""Words in the names of kinds that are negative."""

_TIERS = tuple(frozenset(words.split()) for words in TIERS)
_DISLIKES = frozenset(DISLIKES.split())
CODES: dict[Role, int] = {"target": TARGET, "context": CONTEXT, "negative": NEGATIVE}
LEAST_WEIGHT, MOST_WEIGHT = 0.1, 10.0
"""Limits of the weight that a value gives to a target."""


@dataclass(frozen=True)
class EventRoles:
    """How interactions are used.

    Attributes:
        kinds: role and weight of each kind, in the order of the codes that the model reads; empty: no kinds.
        target_from: smallest value of a target; None: any value.
        negative_to: largest value of what the user dislikes; None: none.
        value_weight: exponent p of the weight (value / mean value of the targets)^p of a target; 0: all weigh the same.
    """

    kinds: Mapping[str, tuple[Role, float]]
    target_from: float | None = None
    negative_to: float | None = None
    value_weight: float = 0.0

    @property
    def by_value(self) -> bool:
        """Whether values decide roles or weights."""
        return self.target_from is not None or self.negative_to is not None or self.value_weight != 0


def default_roles(kinds: Iterable[str], given: Mapping[str, Role]) -> dict[str, Role]:
    """The role of every kind: the one `given`, or the default of its name.

    By default, the strongest kinds are targets, among them those that are given as targets.

    Raises a `ConfigError` for a kind whose name has no default, and for one in `given` that the data do not have.
    """
    kinds = list(kinds)
    for name in given:
        if name not in kinds:
            raise ConfigError(f"data.kinds.{name}: the data have no such kind{_nearest(name, kinds)}")
    tiers = {kind: _tier(kind) for kind in kinds}
    unknown = [kind for kind, tier in tiers.items() if tier is None and kind not in given]
    if unknown and len(kinds) == 1:  # a single kind says nothing
        return {kinds[0]: "target"}
    if unknown:
        raise ConfigError(
            f"events of kind {unknown[0]!r} have no role{_nearest_default(unknown[0])}; give it one: "
            f"`data.kinds.{unknown[0]}=context` (or target, negative, ignored)"
        )
    chosen = [tiers[kind] or 0 for kind, role in given.items() if role == "target"]  # no known name: as a purchase
    others = [tier for kind, tier in tiers.items() if kind not in given and tier is not None and tier < len(_TIERS)]
    strongest = min([*chosen, *others], default=0)
    roles: dict[str, Role] = {}
    for kind in kinds:
        tier = tiers[kind]
        default: Role = "negative" if tier == len(_TIERS) else "target" if tier == strongest else "context"
        roles[kind] = given.get(kind, default)
    if "target" not in roles.values():
        raise ConfigError(
            f"no kind of event is a target ({', '.join(kinds)}); give one: `data.kinds.{kinds[0]}=target`"
        )
    return roles


def _tier(kind: str) -> int | None:
    """The place of a kind among `TIERS`, their number for a dislike, or None."""
    words = set(re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", kind).lower()))
    words |= {"".join(re.findall(r"[a-z]+", kind.lower()))}
    if words & _DISLIKES:
        return len(_TIERS)
    # The weakest word decides: "view cart" is a view.
    return next((n for n in reversed(range(len(_TIERS))) if words & _TIERS[n]), None)


def _nearest(name: str, kinds: list[str]) -> str:
    near = difflib.get_close_matches(name[:64], kinds, n=1, cutoff=0.0)
    return f"; did you mean {near[0]!r}?" if near else ""


def _nearest_default(kind: str) -> str:
    """The hint with the default whose name is nearest."""
    known = sorted({word for tier in _TIERS for word in tier} | _DISLIKES)
    near = difflib.get_close_matches(kind.lower()[:64], known, n=1, cutoff=0.6)
    if not near:
        return ""
    tier = _tier(near[0])
    role = "negative" if tier == len(_TIERS) else "target" if tier == 0 else "context"
    return f" (the nearest known name is {near[0]!r}, by default {role})"


def with_roles(interactions: Interactions, roles: EventRoles) -> Interactions:
    """The interactions whose sequences have the columns of `Sequences`, without the events that are ignored.

    Where the data have neither kinds nor thresholds, there are no roles: every interaction is a target. Raises a
    `ConfigError` if values are to decide and there are none, and a `DataError` for a kind that has no role.
    """
    signals = interactions.signals
    if roles.by_value and "value" not in signals.columns:
        mend = "import the data with `value=...`, or leave data.target_from, negative_to and value_weight out"
        raise ConfigError(f"{interactions.meta.name}: its interactions have no values; {mend}")
    columns: dict[str, np.ndarray] = {}
    if "kind" in signals.columns:
        codes = codes_of(signals["kind"], list(roles.kinds), interactions.meta.name)
        ignored = np.array([role == "ignored" for role, _ in roles.kinds.values()], bool)[codes]
        if ignored.any():
            return with_roles(interactions.where(~ignored), roles)
        columns["kind"] = codes
    if interactions.days is not None:
        columns["day"] = interactions.days
    if "value" in signals.columns:
        columns["value"] = signals["value"].fill_null(float("nan")).to_numpy().astype(np.float32)
    found = roles_of(columns, roles)
    if found is not None:
        columns["role"] = found
    if columns:
        columns |= weights_of(columns, roles)
    return interactions.with_columns(roles, **columns)


def without_ignored(events: pl.DataFrame, roles: EventRoles | None) -> pl.DataFrame:
    """The `events`, with a column `kind` where there are kinds, that are not of a kind that is ignored."""
    ignored = ignored_kinds(roles)
    return events.filter(~pl.col("kind").is_in(ignored)) if ignored else events


def ignored_kinds(roles: EventRoles | None) -> list[str]:
    """The kinds whose events are left out."""
    return [] if roles is None else [kind for kind, (role, _) in roles.kinds.items() if role == "ignored"]


def codes_of(kinds: pl.Series, known: list[str], source: str) -> np.ndarray:
    """The place of each kind among those `known`, `[E]` int64; a `DataError` for one that is not."""
    place = {kind: number for number, kind in enumerate(known)}
    codes = kinds.replace_strict(place, default=None, return_dtype=pl.Int64)
    if codes.null_count():
        kind = kinds.filter(codes.is_null())[0]
        raise DataError(f"{source}: events of kind {kind!r} have no role; the kinds are {', '.join(known)}")
    return codes.to_numpy()


def roles_of(columns: Mapping[str, np.ndarray], roles: EventRoles) -> np.ndarray | None:
    """The role of each entry, from its kind and value; None where all of them are targets. `[E]` int8

    An entry of an unknown kind is a target.
    """
    found = None
    if "kind" in columns:
        table = np.array([*(CODES.get(role, CONTEXT) for role, _ in roles.kinds.values()), TARGET], np.int8)
        found = table[columns["kind"]]
    if "value" in columns and (roles.target_from is not None or roles.negative_to is not None):
        value = columns["value"]
        found = np.full(len(value), TARGET, np.int8) if found is None else found.copy()
        rated = (found == TARGET) & ~np.isnan(value)
        if roles.target_from is not None:
            found[rated & (value < roles.target_from)] = NEUTRAL
        if roles.negative_to is not None:
            found[rated & (value <= roles.negative_to)] = NEGATIVE
    return found if found is not None and (found != TARGET).any() else None


def columns_of_events(
    interactions: Interactions, days: np.ndarray, kinds: Sequence[str | None], values: Sequence[float | None]
) -> dict[str, np.ndarray]:
    """The columns of further events, those that the sequences of `interactions` have.

    Args:
        interactions: the run's interactions, with roles.
        days: times in days since 1970; NaN: unknown. `[n]`
        kinds: kind of each event; None, or a kind without a role: unknown. `n`
        values: value of each event; None: none. `n`
    """
    wanted, roles = interactions.sequences.columns, interactions.roles or EventRoles({})
    columns: dict[str, np.ndarray] = {}
    if "day" in wanted:
        columns["day"] = np.asarray(days, np.float64)
    if "kind" in wanted:
        place = {kind: number for number, kind in enumerate(roles.kinds)}
        columns["kind"] = np.array([place.get(kind or "", PADDING) for kind in kinds], np.int64)
    if "value" in wanted:
        columns["value"] = np.array([np.nan if value is None else value for value in values], np.float32)
    if "role" in wanted:
        found = roles_of(columns, roles)
        columns["role"] = np.full(len(values), TARGET, np.int8) if found is None else found
    return columns


def opinion(roles: EventRoles, values: Sequence[float], *, liked: bool) -> dict[str, Any] | None:
    """The kind or value of an event that says that a user likes an item, or dislikes it; None where nothing says so.

    `values` are those of the data, of which the extreme one is taken.
    """
    wanted: Role = "target" if liked else "negative"
    kind = next((kind for kind, (role, _) in roles.kinds.items() if role == wanted), None)
    if kind is not None:
        return {"kind": kind}
    threshold = roles.target_from if liked else roles.negative_to
    if threshold is None or not len(values):
        return None
    return {"value": float(max(values) if liked else min(values))}


def weights_of(columns: Mapping[str, np.ndarray], roles: EventRoles) -> dict[str, np.ndarray]:
    """The column `weight`, `[E]` float32, where not all targets weigh the same."""
    count = len(next(iter(columns.values())))
    weight = np.ones(count)
    if "kind" in columns:
        weight *= np.array([weight for _, weight in roles.kinds.values()])[columns["kind"]]
    if roles.value_weight and "value" in columns:
        target = columns.get("role", np.zeros(count, np.int8)) == TARGET
        value = np.nan_to_num(columns["value"].astype(np.float64), nan=0.0)
        mean = value[target & (value > 0)].mean() if (target & (value > 0)).any() else 1.0
        factor = np.where(value > 0, (np.maximum(value, 1e-12) / mean) ** roles.value_weight, 1.0)
        weight *= np.clip(factor, LEAST_WEIGHT, MOST_WEIGHT)
    return {} if (weight == 1).all() else {"weight": weight.astype(np.float32)}
