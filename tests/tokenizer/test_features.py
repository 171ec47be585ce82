"""Item features: blocks of one scale, and what is missing is zero."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deftrec.tokenizer import FeatureTable, ItemFeatures, Scaling


def standardise(block: Tensor) -> Tensor:
    return Scaling.of(block).apply(block)


@given(seed=st.integers(0, 20), missing=st.integers(0, 8), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_present_rows_are_centred_and_scaled_and_missing_ones_stay_zero(seed: int, missing: int, scale: float) -> None:
    block = 5 + scale * torch.randn(10, 4, generator=torch.Generator().manual_seed(seed))
    block[:missing] = 0
    before = block.clone()
    found = standardise(block)
    assert torch.equal(block, before)
    assert torch.equal(found[:missing], torch.zeros(missing, 4))
    present = found[missing:]
    torch.testing.assert_close(present.mean(0), torch.zeros(4), atol=1e-2, rtol=0)
    torch.testing.assert_close(present.square().mean(), torch.tensor(1.0), atol=1e-3, rtol=1e-3)


def test_a_block_of_nothing_stays_nothing() -> None:
    assert torch.equal(standardise(torch.zeros(3, 2)), torch.zeros(3, 2))
    same = standardise(torch.ones(3, 2))  # no spread to divide by
    assert torch.equal(same, torch.zeros(3, 2))


@given(seed=st.integers(0, 20), rows=st.sampled_from([1, 7]))
def test_rows_that_are_all_alike_leave_others_of_their_size(seed: int, rows: int) -> None:
    """Every item has the same words, or one alone has any: what comes later is no thousand times as large."""
    generator = torch.Generator().manual_seed(seed)
    block = torch.nn.functional.normalize(torch.randn(1, 384, generator=generator), dim=-1).repeat(rows, 1)
    later = torch.nn.functional.normalize(torch.randn(5, 384, generator=generator), dim=-1)
    found = Scaling.of(block).apply(later)
    assert 0.5 < float(found.square().mean().sqrt()) < 3


def test_half_precision_is_read() -> None:
    assert standardise(torch.randn(4, 2).half()).dtype == torch.float32


def test_blocks_stand_side_by_side() -> None:
    collaborative, text = torch.randn(6, 3), torch.randn(6, 5)
    text[2] = 0
    both = ItemFeatures.build(collaborative, text)
    assert both.values.shape == (6, 8)
    assert torch.equal(both.values[:, both.collaborative], standardise(collaborative))
    assert torch.equal(both.values[:, both.text], standardise(text))
    assert torch.equal(both.values[2, both.text], torch.zeros(5))
    one = ItemFeatures.build(None, text)
    assert (one.collaborative, one.text) == (slice(0, 0), slice(0, 5))
    other = ItemFeatures.build(collaborative, None)
    assert (other.collaborative, other.text) == (slice(0, 3), slice(3, 3))


def test_new_rows_are_scaled_by_what_training_saw() -> None:
    collaborative, text = torch.randn(6, 3), 3 + 2 * torch.randn(6, 5)
    features = ItemFeatures.build(collaborative, text)
    assert features.scaling is not None
    own = features.scaling.columns(features.text)
    torch.testing.assert_close(own.apply(text[4:]), features.values[4:, features.text])
    other = own.apply(text.mean(0, keepdim=True) + torch.tensor([[1.0, 0, 0, 0, 0]]))
    torch.testing.assert_close(other[0, 1:], torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(other[0, 0], 1 / own.scale[0])
    assert torch.equal(own.apply(torch.zeros(1, 5)), torch.zeros(1, 5))


def test_only_a_collaborative_block_beside_others_may_be_hidden() -> None:
    both = ItemFeatures.build(torch.randn(6, 3), torch.randn(6, 5))
    assert both.droppable == (slice(0, 3), None)
    assert ItemFeatures.build(torch.randn(6, 3), None).droppable == (None, None)
    assert ItemFeatures.build(torch.randn(6, 3), None, torch.randn(6, 2)).droppable == (slice(0, 3), slice(3, 5))
    assert ItemFeatures.build(None, torch.randn(6, 5)).droppable == (None, None)


@pytest.mark.parametrize("trainable", [True, False])
def test_an_extended_table_leaves_the_first_one_alone(trainable: bool) -> None:
    values = torch.randn(4, 3)
    table = FeatureTable(values, trainable)
    more = table.extended(torch.ones(2, 3, dtype=torch.float64))
    assert (len(table), len(more), more.values.shape[1]) == (4, 6, 3)
    assert torch.equal(more(torch.tensor([[0, 5]])), torch.stack([values[0], torch.ones(3)])[None])
    assert more.values.requires_grad == table.values.requires_grad == trainable
    with torch.no_grad():
        more.values.zero_()
    assert torch.equal(table.values, values)
    assert not torch.equal(values, more.values[:4])
