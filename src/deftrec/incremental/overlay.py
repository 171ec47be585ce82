"""Changes to a run after training, in one file that is replaced as a whole.

overlay.safetensors   items added (text and sentence vectors), ids removed, events

The trained files never change: without the overlay a run is as it was after training.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import polars as pl
import torch
from torch import Tensor

from deftrec.data import Interactions
from deftrec.data.catalogue import CATALOGUE_COLUMNS
from deftrec.data.extend import extended
from deftrec.errors import DeftRecError, first_line
from deftrec.files import locked
from deftrec.run import Run, save_run
from deftrec.tensors import load_sealed, save_sealed

FILE = "overlay.safetensors"
FORMAT = 3
TABLES = ("items", "events", "removed", "attributes")
AGAIN = "delete it, and repeat the changes made after training"

Stamp: TypeAlias = tuple[int, int, int] | None
"""Inode, modification time and size of the overlay's file; None without a file."""


@dataclass(frozen=True, eq=False)
class Overlay:
    """Items, removals and events after training, under external ids of the run's types.

    Attributes:
        fingerprint: fingerprint of the interactions that the run was trained on.
        items: added items in order, with the columns of the catalogue. N rows
        vectors: sentence vectors of these items, not scaled. `[N, E]` float32
        events: events after training: `user`, `item`, `time`, and signals.
        removed: items that are not recommended: `item`.
        attributes: attributes of items of the training that changed, as rules see them: `item` and all attributes.
        version: number of changes.
    """

    fingerprint: str
    items: pl.DataFrame
    vectors: Tensor
    events: pl.DataFrame
    removed: pl.DataFrame
    attributes: pl.DataFrame
    version: int = 0

    @classmethod
    def empty(cls, interactions: Interactions) -> "Overlay":
        """An overlay without any change."""
        item = interactions.catalogue["item"].dtype
        return cls(
            interactions.fingerprint,
            interactions.catalogue.clear(),
            torch.zeros(0, 0),
            interactions.events_schema,
            pl.DataFrame(schema={"item": item}),
            interactions.catalogue.drop(CATALOGUE_COLUMNS).clear(),
        )

    def with_items(self, items: pl.DataFrame, vectors: Tensor) -> "Overlay":
        """Add N `items` with vectors `[N, E]` behind the others; items that are there already get this text instead."""
        rows = pl.concat([self.items, items]).with_row_index("row")
        merged = rows.group_by("item", maintain_order=True).last()  # order of the first row, text of the last
        all_vectors = torch.cat([self.vectors if len(self.vectors) else vectors[:0], vectors])
        kept = all_vectors[merged["row"].cast(pl.Int64).to_torch()]
        return replace(self, items=merged.drop("row"), vectors=kept).without_removal(items["item"])

    def with_attributes(self, changed: pl.DataFrame, interactions: Interactions) -> "Overlay":
        """Other attributes of items of the training, columns `item` and all attributes; itself if they are the same."""
        stored = self.applied(interactions).catalogue.select(changed.columns)
        new = changed.join(stored, on=changed.columns, how="anti", nulls_equal=True, maintain_order="left")
        if not new.height:
            return self
        rest = self.attributes.join(new, on="item", how="anti", maintain_order="left")
        return replace(self, attributes=pl.concat([rest, new]))

    def without_removal(self, items: pl.Series) -> "Overlay":
        """Recommend `items` again."""
        return replace(self, removed=self.removed.filter(~pl.col("item").is_in(items.implode())))

    def applied(self, interactions: Interactions) -> Interactions:
        """The `interactions` of training with the added items, events and attributes."""
        return extended(interactions, self.items, self.events, self.attributes)

    def with_events(self, events: pl.DataFrame) -> "Overlay":
        """Add events: `user`, `item`, `time`, and signals."""
        return replace(self, events=pl.concat([self.events, events], how="vertical_relaxed"))


def overlay_stamp(folder: str | Path) -> Stamp:
    """A stamp that changes whenever the overlay of the run in `folder` is replaced, without reading it."""
    try:
        about = (Path(folder) / FILE).stat()
    except FileNotFoundError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size


def read_overlay(folder: str | Path, interactions: Interactions) -> Overlay:
    """The overlay of the run in `folder`; an empty one without a file.

    Raises a `DeftRecError` if the file is damaged, or of another run.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return Overlay.empty(interactions)
    about, tensors = load_sealed(path, AGAIN)
    try:
        if about["format"] != FORMAT:
            raise DeftRecError(f"{path}: of format {about['format']}, and this version reads format {FORMAT}; {AGAIN}")
        items, events, removed, attributes = (pl.read_parquet(io.BytesIO(_bytes(tensors[name]))) for name in TABLES)
        about_it = (events, removed, attributes, about["version"])
        overlay = Overlay(about["fingerprint"], items, tensors["vectors"], *about_it)
    except (LookupError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise DeftRecError(f"{path}: damaged ({first_line(error)}); {AGAIN}") from error
    if overlay.fingerprint != interactions.fingerprint:
        raise DeftRecError(f"{path}: belongs to a run on other data; {AGAIN}")
    return overlay


def write_overlay(folder: Path, overlay: Overlay) -> None:
    """Replace the overlay file as a whole."""
    about = {"format": FORMAT, "fingerprint": overlay.fingerprint, "version": overlay.version}
    tensors = {"vectors": overlay.vectors.float()}
    for name in TABLES:
        buffer = io.BytesIO()
        getattr(overlay, name).write_parquet(buffer)
        tensors[name] = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
    save_sealed(folder / FILE, about, tensors)


def save_with_overlay(folder: Path, run: Run, overlay: Overlay | None) -> None:
    """Write a run with its overlay; the record of the run is written last, as by `save_run`."""
    if overlay is not None and overlay.version:
        write_overlay(folder, overlay)
    save_run(folder, run)


@contextmanager
def changing(folder: Path, interactions: Interactions) -> Iterator[Overlay]:
    """The overlay of the run in `folder`, which no other process changes inside the block; errors of `read_overlay`.

    Files left by a killed process are deleted.
    """
    with locked(folder / FILE, wait=True):
        for left in folder.glob(f".{FILE}.*.tmp"):
            left.unlink(missing_ok=True)
        yield read_overlay(folder, interactions)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.numpy().tobytes()
