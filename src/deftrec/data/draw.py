"""The description of a data set as tables and bars for a terminal."""

from collections.abc import Iterable, Sequence

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deftrec.data.describe import Clones, Description, SplitDescription

BAR_WIDTH = 40


def draw(description: Description) -> RenderableType:
    """Draw the facts as tables, and the long tail and the history lengths as bars."""
    return Group(
        Text(f"{description.name}  ({description.source})", style="bold"),
        _facts(description),
        Text(),
        Text("Long tail: share of the interactions with each tenth of the items, most popular first", style="bold"),
        _bars(
            [f"{_ordinal(step)} tenth" for step in range(1, len(description.tail_steps) + 1)],
            description.tail_steps,
            [f"{share:.1%}" for share in description.tail_steps],
        ),
        Text(),
        Text("History lengths: number of users by number of interactions", style="bold"),
        _bars(
            [f"{one.low}" if one.low == one.high else f"{one.low} to {one.high}" for one in description.length_bins],
            [one.users for one in description.length_bins],
            [f"{one.users:,}" for one in description.length_bins],
        ),
        Text(),
        _splits(description.splits),
        *_warnings(description),
    )


def _facts(description: Description) -> Table:
    table = Table.grid(padding=(0, 2))
    lengths, tail = description.lengths, description.long_tail
    rows = [
        ("users", f"{description.users:,}"),
        ("items", f"{description.items:,} ({description.untitled:,} without title)"),
        ("interactions", f"{description.interactions:,} (density {description.density:.3%})"),
        (
            "history length",
            f"median {lengths['median']:g}, mean {lengths['mean']:.1f}, p10 {lengths['p10']:g}, "
            f"p90 {lengths['p90']:g}, max {lengths['max']:g}",
        ),
        ("long tail", ", ".join(f"top {share} of items: {value:.1%}" for share, value in tail.items())),
        ("repeats", f"{description.repeated:.1%} of interactions repeat an item of the user's history"),
        ("equal times", f"{description.equal_times:.1%} of interactions have the time of another one of the same user"),
        ("cloned histories", _clones(description.clones)),
    ]
    if description.filters:
        rows.append(("filters", ", ".join(f"{key} {value}" for key, value in description.filters.items())))
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def _clones(clones: Clones) -> str:
    if not clones.groups:
        return "none"
    return (
        f"{clones.users:,} users ({clones.share:.1%}), groups: {clones.groups:,}; "
        f"in the largest {clones.largest:,} users have the same {clones.largest_length} items"
    )


def _bars(labels: Sequence[str], values: Sequence[float], shown: Sequence[str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column(width=BAR_WIDTH)
    table.add_column(justify="right")
    largest = max(values, default=0) or 1
    for label, value, text in zip(labels, values, shown, strict=True):
        table.add_row(label, Bar(largest, 0, value, width=BAR_WIDTH), text)
    return table


def _splits(splits: Iterable[SplitDescription]) -> Table:
    table = Table("", *(split.name for split in splits), title="Splits", title_justify="left", title_style="bold")
    rows: list[tuple[str, str, str]] = [
        ("train interactions", "train_interactions", ","),
        ("validation targets", "validation_targets", ","),
        ("test targets", "test_targets", ","),
        ("validation targets not in train", "validation_not_in_train", ".1%"),
        ("test targets not in train", "test_not_in_train", ".1%"),
        ("test targets not in train + validation", "test_not_in_train_validation", ".1%"),
        ("test targets in the user's history", "test_repeats", ".1%"),
    ]
    for label, attribute, form in rows:
        cells = ["-" if split.impossible else format(getattr(split, attribute), form) for split in splits]
        table.add_row(label, *cells)
    return table


def _warnings(description: Description) -> list[RenderableType]:
    """Notes on what would mislead a metric on this data."""
    found = [f"no {split.name} split: {split.impossible}" for split in description.splits if split.impossible]
    if description.clones.largest >= max(10, 0.01 * description.users):
        found.append(
            f"{description.clones.largest:,} users have the identical history: their test targets are equal too, so a "
            "model that memorises one has them all right"
        )
    if description.equal_times > 0.05:
        found.append(f"{description.equal_times:.0%} of interactions are ordered by a seed, not by their time")
    return [Text(f"note: {line}", style="yellow") for line in found]


def _ordinal(number: int) -> str:
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th') }"
