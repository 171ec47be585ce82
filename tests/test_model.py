"""DeftRec's forward pass: no place sees its own target, and what is trained is what is served."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from deftrec.batch import Batch
from deftrec.config import Config
from deftrec.data import PADDING, Sequences
from deftrec.data.sequences import pad_histories
from deftrec.diffusion import Sampling
from deftrec.ensemble import build_model
from deftrec.language import Layout
from deftrec.model import DeftRec
from deftrec.recipe import resolve
from deftrec.retrieval import generate_queries, queries
from deftrec.sizes import Sizes
from deftrec.tokenizer import ItemFeatures
from deftrec.training.batches import PackedBatches
from toy import tiny_config

ITEMS, WINDOW = 30, 12
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "ways": {"tokenizer": {"ways": 3}},
    "folded": {"tokenizer": {"users": "folded", "ways": 2}},
    "frozen-features": {"tokenizer": {"trainable_features": False}},
    "eps": {"diffusion": {"prediction": "eps"}},
}
SAMPLING = Sampling("ddim", 1, 0, 0.0)


def sequences(users: int = 20) -> Sequences:
    rng = np.random.default_rng(0)
    return Sequences.from_lists([rng.permutation(ITEMS)[: 2 + user % 14] for user in range(users)])


def make(**options: Any) -> tuple[DeftRec, Config]:
    config = resolve(
        tiny_config(**{"data": {"max_history": WINDOW}, **options}),
        Sizes(positions=1, interactions=1, users=1, items=ITEMS),
    )
    torch.manual_seed(0)
    model = build_model(ItemFeatures.build(torch.randn(ITEMS, 8), torch.randn(ITEMS, 5)), config, "items")
    for parameter in model.diffusion.parameters():  # nothing is zero after training
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval(), config


@pytest.fixture(params=VARIANTS)
def model(request: pytest.FixtureRequest) -> DeftRec:
    return make(**VARIANTS[request.param])[0]


def one_batch(sampled: int | None = None) -> Batch:
    objective = tiny_config(objective={"sampled_items": sampled or ITEMS}).objective
    batches = PackedBatches(sequences(), ITEMS, max_history=WINDOW, batch_positions=1000, objective=objective, seed=0)
    return next(batches.epoch(0)[1])


def conditions(model: DeftRec, batch: Batch) -> torch.Tensor:
    features = model.features(batch.candidates)
    return model.condition(model.item_tokenizer(features).ways, features, batch.items, batch.layout)


def test_seen_pairs_are_the_prefix_without_the_target() -> None:
    batch = one_batch()
    asked = batch.targets != PADDING
    expected = []
    for row, (b, at) in enumerate(asked.nonzero().tolist()):
        for before in range(at + 1):
            item = int(batch.items[b, before])
            together = batch.layout.segments[b, before] == batch.layout.segments[b, at]
            if together and item != batch.targets[b, at]:
                expected.append([row, item])
    found = batch.seen_pairs(asked)
    assert found.tolist() == expected
    assert (found[:, 0].diff() >= 0).all()  # sorted by row, as the chunked cross-entropy needs them


def test_repeats_are_never_hidden_targets() -> None:
    layout = Layout(torch.zeros(1, 4, dtype=torch.int64), torch.arange(4)[None])
    batch = Batch(torch.arange(9), torch.tensor([[5, 6, 5, 7]]), torch.tensor([[6, 5, 7, 5]]), layout)
    pairs = batch.seen_pairs(batch.targets != PADDING).tolist()
    assert pairs == [[0, 5], [1, 6], [2, 5], [2, 6], [2, 5], [3, 6], [3, 7]]


@torch.no_grad()
def test_no_place_sees_what_follows_it(model: DeftRec) -> None:
    items = torch.arange(WINDOW)[None]
    layout = Layout(torch.zeros_like(items), items.clone())
    batch = Batch(torch.arange(ITEMS), items, items + 1, layout)
    before = conditions(model, batch)[0]
    for place in range(1, WINDOW):
        changed = items.clone()
        changed[0, place:] = torch.randint(WINDOW, ITEMS, (WINDOW - place,))
        after = conditions(model, replace(batch, items=changed))[0]
        torch.testing.assert_close(after[:place], before[:place], atol=1e-6, rtol=1e-5)
        assert not torch.isclose(after[place], before[place], atol=1e-4).all()


@torch.no_grad()
@pytest.mark.parametrize("sampled", [None, 7])
def test_serving_makes_the_condition_of_training(model: DeftRec, sampled: int | None) -> None:
    """Packed among others or alone, among all candidates or a sample: the history decides."""
    batch, catalogue = one_batch(sampled), model.encode_catalogue()
    packed = conditions(model, batch)
    checked = 0
    for b, at in (batch.targets != PADDING).nonzero().tolist()[::5]:
        prefix = (batch.layout.segments[b] == batch.layout.segments[b, at]).nonzero()[:, 0]
        history = batch.candidates[batch.items[b, prefix[prefix <= at]]]
        padded = pad_histories(Sequences.from_lists([history.tolist(), list(range(9))]), np.arange(2), WINDOW)
        layout = Layout(torch.from_numpy(padded.segments), torch.from_numpy(padded.positions))
        found = model.generate(catalogue, torch.from_numpy(padded.items), layout, SAMPLING).x0[0]
        expected = model.diffusion.generate(packed[b, at][None], SAMPLING).x0[0]
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
        checked += 1
    assert checked > 10


def test_gradients_reach_everything_that_is_trained(model: DeftRec) -> None:
    model.train()
    losses = model(one_batch())
    assert losses["loss"].isfinite()
    losses["loss"].backward()
    idle = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    # A learned mask value is there for masking single features, which is off here.
    assert [name for name in idle if not name.endswith("masking.value")] == []
    assert (model.features.values.grad is not None) == model.features.values.requires_grad


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_catalogue_in_chunks(model: DeftRec, chunk: int) -> None:
    model.train()
    before = model.features.values.clone()
    found = model.encode_catalogue(chunk)
    assert model.training  # as it was before
    expected = model.eval().encode_catalogue()
    torch.testing.assert_close(found.latents, expected.latents)
    torch.testing.assert_close(found.ways, expected.ways)
    assert torch.equal(model.features.values, before)


@torch.no_grad()
@pytest.mark.parametrize("places", [1, 20, 8192])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_queries_do_not_depend_on_their_batches(
    model: DeftRec, places: int, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = Sampling(sampler, 3, 2, 0.0)
    catalogue, asked = model.encode_catalogue(), sequences()
    monkeypatch.setattr(queries, "CPU_PLACES", places)

    def ask(histories: Sequences, **options: Any) -> torch.Tensor:
        return generate_queries(model, catalogue, histories, sampling=sampling, seed=3, **options).latents

    together = ask(asked)
    assert together.shape == (len(asked), catalogue.latents.shape[1])
    for n in range(0, len(asked), 4):
        torch.testing.assert_close(ask(asked.select([n]))[0], together[n], atol=2e-5, rtol=1e-4)
    order = np.random.default_rng(0).permutation(len(asked))
    torch.testing.assert_close(ask(asked.select(order)), together[torch.from_numpy(order)], atol=2e-5, rtol=1e-4)


def test_batches_of_queries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many short histories and few long ones: no batch computes more places than it may."""
    model, _ = make()
    shapes: list[tuple[int, ...]] = []
    generate = DeftRec.generate

    def watch(self: DeftRec, catalogue: Any, items: torch.Tensor, *rest: Any) -> Any:
        shapes.append(tuple(items.shape))
        return generate(self, catalogue, items, *rest)

    monkeypatch.setattr(DeftRec, "generate", watch)
    monkeypatch.setattr(queries, "CPU_PLACES", 100)
    asked = Sequences.from_lists([[1]] * 300 + [list(range(WINDOW))] * 300)
    generate_queries(model.train(), model.encode_catalogue(), asked, sampling=SAMPLING, seed=0)
    assert max(rows * width for rows, width in shapes) <= 100
    assert sum(rows for rows, _ in shapes) == 600
    assert len(shapes) < 60
    assert model.training


@torch.no_grad()
def test_only_the_newest_items_are_read() -> None:
    model, _ = make()
    catalogue = model.encode_catalogue()

    def ask(history: list[int]) -> torch.Tensor:
        lists = Sequences.from_lists([history])
        return generate_queries(model, catalogue, lists, sampling=SAMPLING, seed=0).latents

    recent = list(range(WINDOW))
    torch.testing.assert_close(ask([20, 21, *recent]), ask(recent))
    assert not torch.isclose(ask([20, *recent[1:]]), ask(recent), atol=1e-4).all()


def test_one_block_is_never_hidden() -> None:
    config = tiny_config(tokenizer={"drop_collaborative": 0.9})
    alone = ItemFeatures.build(torch.randn(ITEMS, 8), None)
    resolved = resolve(config, Sizes(positions=1, interactions=1, users=1, items=ITEMS))
    masking = build_model(alone, resolved, "items").item_tokenizer.masking
    x = torch.ones(50, 8)
    assert torch.equal(masking.train()(x), x)
