"""The generated log keeps its truth, and the study compares what it says."""

from pathlib import Path

import numpy as np
import pytest
from studies import signals

from deftrec.data.kinds import with_roles
from deftrec.data.split import leave_one_out


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"USERS": 60, "CATEGORIES": 5, "ITEMS_EACH": 6, "ROUNDS": 4}.items():
        monkeypatch.setattr(signals, name, value)


@pytest.mark.usefixtures("small")
def test_a_purchase_follows_a_cart_of_its_category() -> None:
    events = signals.make_log().events()
    cart, purchases = None, 0
    user = None
    for row in events.to_dicts():
        if row["user"] != user:
            user, cart = row["user"], None
        if row["kind"] == "cart":
            cart = row["item"] // signals.ITEMS_EACH
        if row["kind"] == "purchase":
            assert row["item"] // signals.ITEMS_EACH == cart
            purchases += 1
    assert purchases == 60 * 4
    assert signals.make_log().fingerprint == signals.make_log().fingerprint


@pytest.mark.usefixtures("small")
def test_the_plain_model_sees_nothing_of_the_targets() -> None:
    data = with_roles(signals.make_log(), signals.KINDS)
    split = leave_one_out(data)
    plain = signals.before_targets(data, split.test)
    assert plain.signals.columns == []
    assert plain.sequences.lengths.tolist() == np.where(split.test >= 0, split.test, data.sequences.lengths).tolist()


@pytest.mark.usefixtures("small")
def test_both_models_are_asked_the_same(tmp_path: Path) -> None:
    signals.log_(tmp_path / "found.json", seeds=1, size="small")
    found = (tmp_path / "found.json").read_text(encoding="utf-8")
    assert '"name": "NDCG@10 of purchases"' in found
