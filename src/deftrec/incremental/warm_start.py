"""Training that continues from the weights of a run, on data with new items."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
import torch
from torch import Tensor

from deftrec.attributes import encode_attributes
from deftrec.collaborative import FoldIn
from deftrec.config import Config
from deftrec.data import Cases, Interactions, Sequences, Split
from deftrec.data.extend import conform, conformed_events, extended, unknown_events
from deftrec.data.sources.columns import Place, same_ids
from deftrec.ensemble import members_of
from deftrec.errors import ConfigError
from deftrec.incremental.overlay import Overlay
from deftrec.language.stored import load_stored_state, stored_state
from deftrec.model import DeftRec
from deftrec.run import FittedOn, Provenance, Run
from deftrec.tokenizer import ItemFeatures

CHANGES = "changes of the run to start from"  # name of its overlay in errors

MOST_KNOWN = 0.01
"""Largest share of test targets that the run to start from may have been fitted on: deleted events make a few."""


@dataclass(frozen=True, eq=False)
class WarmStart:
    """A finished run whose weights training continues from, with its items, events and removals after training."""

    run: Run
    overlay: Overlay | None = None

    @property
    def members(self) -> Sequence[DeftRec]:
        """Models of the ensemble."""
        return members_of(self.run.model)

    @cached_property
    def provenance(self) -> Provenance:
        """Identity of the run, with the SHA-256 over the names and values of all trained weights."""
        digest, info = hashlib.sha256(), self.run.info
        for member in self.members:
            for name, tensor in sorted(stored_state(member).items()):
                values = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
                digest.update(name.encode() + values.numpy().tobytes())
        return Provenance(weights=digest.hexdigest(), **info.model_dump(include=set(FittedOn.model_fields)))

    def joined(self, interactions: Interactions) -> Interactions:
        """New data with the items and events that came to the run after its training.

        Items that the data hold keep their text there, and an event that they hold counts once: the same user, item and
        time, or, where times only order the items of a user, the same user and item. Items of the run come along with
        their events; attributes that the run does not have, or has in another type, are missing. Raises a `DataError`
        if an id or a time does not suit the data.
        """
        if self.overlay is None:
            return interactions
        events = conformed_events(self.overlay.events, interactions, Place(CHANGES))
        if interactions.meta.times == "position":
            events = events.join(interactions.events(), on=["user", "item"], how="anti", maintain_order="left")
        named = pl.concat([self.overlay.items["item"], self.overlay.events["item"]])
        items = self.overlay.applied(self.run.interactions).catalogue.filter(pl.col("item").is_in(named.implode()))
        items = items.with_columns(conform(items["item"], interactions.catalogue["item"], CHANGES, "item"))
        new = items.join(interactions.catalogue, on="item", how="anti", maintain_order="left")
        new = new.with_columns(_missing(one, new) for one in interactions.attributes)
        return extended(interactions, new, unknown_events(interactions, events))

    def removals(self, interactions: Interactions) -> Overlay | None:
        """The run's removals as the overlay of a run on `interactions`; None: they concern none of its items."""
        if self.overlay is None:
            return None
        removed = same_ids(self.overlay.removed["item"], interactions.catalogue["item"].dtype).drop_nulls()
        known = interactions.catalogue.select("item").join(removed.to_frame("item"), on="item", how="semi")
        empty = Overlay.empty(interactions)
        return replace(empty, removed=known, version=1) if known.height else None

    def places(self, interactions: Interactions) -> np.ndarray:
        """Row of each item of `interactions` in the run's catalogue; -1 for a new item. `[I']` int64"""
        rows = self.run.interactions.number_of_item
        return np.array([rows.get(item, -1) for item in interactions.number_of_item], np.int64)

    def known(self, interactions: Interactions, cases: Cases) -> np.ndarray:
        """Whether each target occurs in `run.training` more often than in the case's own history. `[N]` bool"""
        rows, places = self.run.interactions.number_of_user, self.places(interactions)
        known = np.zeros(len(cases), bool)
        for n, (user, history, target) in enumerate(zip(cases.users, cases.histories, cases.targets, strict=True)):
            row = rows.get(str(interactions.users[int(user)]))
            if row is not None and places[target] >= 0:
                fitted = np.count_nonzero(self.run.training[row] == places[target])
                known[n] = fitted > np.count_nonzero(history == target)
        return known

    def unknown(self, interactions: Interactions, cases: Cases) -> Cases:
        """The validation cases whose targets the run was not fitted on; a `ConfigError` if there are none."""
        kept = cases.select(np.flatnonzero(~self.known(interactions, cases)))
        if not len(kept) and len(cases):
            raise ConfigError(
                f"the run to start from was fitted on all {len(cases):,} validation targets, so that nothing could be "
                "chosen on them: give data with newer interactions, or start from a run trained without `refit=True`"
            )
        return kept

    def refuse_known_targets(self, interactions: Interactions, split: Split) -> None:
        """Raise a `ConfigError` if the weights were fitted on more than the share `MOST_KNOWN` of the test targets."""
        cases = split.cases("test")
        known = int(self.known(interactions, cases).sum())
        if known > MOST_KNOWN * len(cases):
            raise ConfigError(
                f"the run to start from was fitted on {known:,} of the {len(cases):,} test targets, so that test "
                "would measure memorisation; keep its data.split and its data, add newer events, or train from scratch "
                "without `start=...`"
            )

    def check_text_options(self, config: Config) -> None:
        """Raise a `ConfigError` if `config` has other text options than the run, whose items keep their vectors."""
        before = self.run.config.text.model_copy(update={"model": config.text.model})  # its path may differ now
        for key, value in config.text:
            if value != getattr(before, key):
                raise ConfigError(
                    f"text.{key} differs from the run to start from, whose items were read with it: leave it, or train "
                    "from scratch without `start=...`"
                )

    def check_members(self, wanted: int) -> None:
        """Raise a `ConfigError` if the run has fewer members than `wanted`."""
        if wanted > len(self.members):
            raise ConfigError(
                f"training.ensemble_size is {wanted} and the run to start from has {len(self.members)}: leave it, or "
                "train from scratch without `start=...`"
            )

    def features(
        self, member: int, interactions: Interactions, sequences: Sequences, text: Tensor | None
    ) -> ItemFeatures:
        """Item features of a new catalogue: items of the run keep their vectors, new ones get text and fold-in vectors.

        Args:
            member: member of the ensemble; its features may have been trained.
            interactions: new data.
            sequences: interactions that are fitted; no others are used.
            text: sentence vectors, not scaled, of the new items at least. `[I', E]`
        """
        info = self.run.info
        old, (d, e, _) = self.members[member].features.values.detach().cpu(), info.widths
        places, trained = self.places(interactions), self.run.training.counts(self.run.interactions.n_items) > 0
        values = torch.zeros(interactions.n_items, old.shape[1])
        known = places >= 0
        values[torch.from_numpy(known)] = old[torch.from_numpy(places[known])]
        new = torch.from_numpy(~known)
        if text is not None and e:  # a run without text has no columns for it
            values[new, d : d + e] = self.run.scaling.columns(slice(d, d + e)).apply(text[new])
        values[new, d + e :] = encode_attributes(info.attributes, interactions.catalogue)[new]
        with_vector = known & trained[places]
        having, lacking = np.flatnonzero(with_vector), np.flatnonzero(~with_vector)
        fold = FoldIn.of(sequences.liked(), having, lacking, interactions.n_items)
        values[torch.from_numpy(lacking), :d] = fold.vectors(values[torch.from_numpy(having), :d])
        return ItemFeatures.of_widths(values, *info.widths, self.run.scaling)

    def load_into(self, model: DeftRec, member: int) -> None:
        """Load the weights of a member, without the features, into a model for the new catalogue.

        Raises a `ConfigError` if the model has another shape.
        """
        state = {**stored_state(self.members[member]), "features.values": model.features.values.detach()}
        try:
            load_stored_state(model, state)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                "these options build another model than the run to start from; change only how it is trained, or train "
                "anew without `start=...`"
            ) from error


def _missing(like: pl.Series, items: pl.DataFrame) -> pl.Series:
    """The attribute of `items` like one of the new data; missing values where they have none of its type."""
    if like.name in items.columns and items[like.name].dtype == like.dtype:
        return items[like.name]
    missing = "" if like.dtype == pl.String else None
    return pl.Series(like.name, [missing] * items.height, like.dtype)
