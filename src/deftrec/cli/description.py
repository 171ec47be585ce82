"""The description of a data set as tables and bars for a terminal."""

from collections.abc import Iterable, Iterator, Mapping

from rich.bar import Bar
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from deftrec.cli.fitting import FittingTable
from deftrec.data.describe import Description, SplitDescription
from deftrec.data.describe_signals import WEEKDAYS, AttributeDescription, SignalsDescription

BAR_WIDTH = 40
SPLIT_ROWS = (
    ("train interactions", "train_interactions", ","),
    ("validation targets", "validation_targets", ","),
    ("test targets", "test_targets", ","),
    ("validation targets not in train", "validation_not_in_train", ".1%"),
    ("test targets not in train", "test_not_in_train", ".1%"),
    ("test targets not in train + validation", "test_not_in_train_validation", ".1%"),
    ("test targets in the user's history", "test_repeats", ".1%"),
)


def draw(description: Description) -> RenderableType:
    """Draw the facts as tables, and the long tail and the history lengths as bars."""
    tail = {f"{_ordinal(step)} tenth": share for step, share in enumerate(description.tail_steps, start=1)}
    lengths = {
        f"{one.low}" if one.low == one.high else f"{one.low} to {one.high}": one.users
        for one in description.length_bins
    }
    return Group(
        Text(f"{description.name}  ({description.source})", style="bold"),
        _facts(description),
        Text("\nLong tail: share of the interactions with each tenth of the items, most popular first", style="bold"),
        _bars(tail, ".1%"),
        Text("\nHistory lengths: number of users by number of interactions", style="bold"),
        _bars(lengths, ","),
        *_times(description.signals),
        Text("\nSplits", style="bold"),
        _splits(description.splits),
        *(Text(f"note: {line}", style="yellow") for line in _warnings(description)),
    )


def _facts(description: Description) -> Table:
    lengths, clones = description.lengths, description.clones
    rows = {
        "users": f"{description.users:,}",
        "items": f"{description.items:,} ({description.untitled:,} without title)",
        "interactions": f"{description.interactions:,} (density {description.density:.3%})",
        "history length": f"median {lengths['median']:g}, mean {lengths['mean']:.1f}, p10 {lengths['p10']:g}, "
        f"p90 {lengths['p90']:g}, max {lengths['max']:g}",
        "long tail": ", ".join(f"top {share} of items: {value:.1%}" for share, value in description.long_tail.items()),
        "repeats": f"{description.repeated:.1%} of interactions repeat an item of the user's history",
        "equal times": f"{description.equal_times:.1%} of interactions have the time of another one of the same user",
        "cloned histories": f"{clones.users:,} users ({clones.share:.1%}), groups: {clones.groups:,}; in the largest "
        f"{clones.largest:,} users have the same {clones.largest_length} items"
        if clones.groups
        else "none",
    }
    rows |= _signals(description.signals)
    if description.filters:
        rows["filters"] = ", ".join(f"{key} {value}" for key, value in description.filters.items())
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def _signals(signals: SignalsDescription) -> dict[str, str]:
    """Rows about kinds, values, attributes and gaps, as far as the data have them."""
    rows = {}
    if signals.kinds:
        rows["kinds"] = ", ".join(f"{kind} {one.events:,} ({one.role})" for kind, one in signals.kinds.items())
    if "mean" in signals.values:
        values = signals.values
        rows["values"] = (
            f"{values['min']:g} to {values['max']:g}, mean {values['mean']:.2f}, missing {values['missing']:.1%}"
        )
    if signals.attributes:
        rows["attributes"] = "; ".join(_attribute(name, one) for name, one in signals.attributes.items())
    if signals.gaps:
        rows["gaps"] = ", ".join(f"{name} {_span(seconds)}" for name, seconds in signals.gaps.items())
    return rows


def _attribute(name: str, one: AttributeDescription) -> str:
    values = f"{one.low} to {one.high}" if one.low else f"{one.distinct:,} values"
    return f"{name}: {one.type}, {values}, missing {one.missing:.1%}"


def _span(seconds: float) -> str:
    """A time span in the largest unit of which it has at least two."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _times(signals: SignalsDescription) -> list[RenderableType]:
    """Hours and weekdays as bars, where times are clock times."""
    if not signals.hours:
        return []
    quarters = {f"{n} to {n + 6} h": sum(signals.hours[n : n + 6]) for n in range(0, 24, 6)}
    return [
        Text("\nTimes: share of the interactions by hour (UTC) and weekday", style="bold"),
        _bars({**quarters, **dict(zip(WEEKDAYS, signals.weekdays, strict=True))}, ".1%"),
    ]


def _bars(values: Mapping[str, float], form: str) -> Table:
    first, last = (Column(justify="right", no_wrap=True) for _ in range(2))
    table = Table.grid(first, Column(max_width=BAR_WIDTH), last, padding=(0, 2))
    largest = max(values.values(), default=0) or 1
    for label, value in values.items():
        table.add_row(label, _Bar(value / largest), format(value, form))
    return table


class _Bar:
    """A bar as long as `share` of its column."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        plain = options.ascii_only
        yield Text("#" * round(self.share * options.max_width)) if plain else Bar(1, 0, self.share)


def _splits(splits: Iterable[SplitDescription]) -> FittingTable:
    table = FittingTable("split", *(Column(split.name, justify="right", no_wrap=True) for split in splits))
    for label, attribute, form in SPLIT_ROWS:
        cells = ["-" if split.impossible else format(getattr(split, attribute), form) for split in splits]
        table.add_row(label, *cells)
    return table


def _warnings(description: Description) -> Iterator[str]:
    """Notes on what would mislead a metric on this data."""
    yield from (f"no {split.name} split: {split.impossible}" for split in description.splits if split.impossible)
    if description.clones.largest >= max(10, 0.01 * description.users):
        yield (
            f"{description.clones.largest:,} users have the identical history: their test targets are equal too, so a "
            "model that memorises one has them all right"
        )
    if description.equal_times > 0.05:
        yield f"{description.equal_times:.0%} of interactions are ordered by a seed, not by their time"


def _ordinal(number: int) -> str:
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th') }"
