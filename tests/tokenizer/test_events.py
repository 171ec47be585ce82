"""Kind, value and time of events: what the model reads of them, and that both paths of inference agree."""

from typing import Any

import numpy as np
import pytest
import torch

from deftrec.config import Config
from deftrec.data import Sequences
from deftrec.data.sequences import GAPS, gap_buckets
from deftrec.diffusion import Sampling
from deftrec.ensemble import build_model
from deftrec.inference import InferenceModel, Reading
from deftrec.model import DeftRec
from deftrec.recipe import resolve
from deftrec.retrieval import generate_queries, inference_queries
from deftrec.sizes import Sizes
from deftrec.tokenizer import Events, EventTokens, ItemFeatures
from toy import tiny_config

ITEMS, WINDOW = 30, 12
SAMPLING = Sampling("ddim", 1, 0, 0.0)
KINDS = {"view": "context", "purchase": "target"}
FORMS: dict[str, dict[str, Any]] = {
    "kinds": {"data": {"kinds": KINDS}},
    "values": {"tokenizer": {"values": True}},
    "gaps": {"tokenizer": {"gaps": True}},
    "request time": {"tokenizer": {"request_time": True}},
    "relative time": {"language": {"kind": "nano", "width": 32, "layers": 2, "relative_time": True}},
    "two ways": {"data": {"kinds": KINDS}, "tokenizer": {"ways": 2, "gaps": True}},
    "all": {
        "data": {"kinds": KINDS},
        "tokenizer": {"values": True, "gaps": True, "request_time": True, "users": "folded"},
        "language": {"kind": "nano", "width": 32, "layers": 2, "relative_time": True},
    },
}


def build(**options: Any) -> DeftRec:
    """A model whose parameters are all random."""
    given = {**options, "data": {"max_history": WINDOW, **options.get("data", {})}}
    config: Config = resolve(tiny_config(**given), Sizes(positions=1, interactions=1, users=1, items=ITEMS))
    torch.manual_seed(0)
    model = build_model(ItemFeatures.build(torch.randn(ITEMS, 8), torch.randn(ITEMS, 5)), config, "items")
    assert isinstance(model, DeftRec)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    if model.event_tokens is not None:
        model.event_tokens.fit_values(torch.tensor([1.0, 2.0, 5.0]))
    return model.eval()


def histories(**changed: Any) -> Sequences:
    """Histories with all signals; `changed` columns replace theirs."""
    rng = np.random.default_rng(0)
    plain = Sequences.from_lists([rng.integers(ITEMS, size=1 + user % 20) for user in range(40)])
    E = len(plain.items)
    days = np.concatenate([np.sort(rng.uniform(0, 100, length)) for length in plain.lengths])
    columns = {
        "kind": rng.integers(0, 2, E),
        "value": rng.choice([1.0, 2.0, 5.0, np.nan], E).astype(np.float32),
        "day": days,
        "ahead": rng.uniform(0, 3, E),
    }
    return plain.with_columns(**{**columns, **{name: one(columns[name]) for name, one in changed.items()}})


def latents(model: DeftRec, given: Sequences) -> torch.Tensor:
    return generate_queries(model, model.encode_catalogue(), given, sampling=SAMPLING, seed=3).latents


@pytest.mark.parametrize("form", FORMS)
def test_both_paths_read_the_same(form: str) -> None:
    model = build(**FORMS[form])
    fast = InferenceModel(model, model.encode_catalogue())
    found = inference_queries(fast, histories(), sampling=SAMPLING, seed=3).latents
    torch.testing.assert_close(found, latents(model, histories()), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("form", "column", "change"),
    [
        ("kinds", "kind", lambda kinds: 1 - kinds),
        ("values", "value", lambda values: np.nan_to_num(values, nan=2.0)),
        ("gaps", "day", lambda days: days * 50),
        ("request time", "ahead", lambda days: days * 50),
        ("relative time", "day", lambda days: days * 50),
    ],
)
def test_each_signal_is_read_where_the_model_has_it_and_nowhere_else(form: str, column: str, change: Any) -> None:
    changed = histories(**{column: change})
    model, plain = build(**FORMS[form]), build()
    assert not torch.allclose(latents(model, changed), latents(model, histories()), atol=1e-4)
    assert torch.equal(latents(plain, changed), latents(plain, Sequences(changed.items, changed.offsets)))


def test_without_signals_nothing_is_added() -> None:
    """A history of items alone is read by the same model; unknown values, kinds and times add zero."""
    model, bare = build(**FORMS["all"]), Sequences(histories().items, histories().offsets)
    unknown = bare.with_columns(kind=np.full(len(bare.items), -1), value=np.full(len(bare.items), np.nan, np.float32))
    for table in vars(model.event_tokens)["_modules"].values():
        table.weight.data[0] = 0  # as training leaves the row of the unknown
    torch.testing.assert_close(latents(model, unknown), latents(model, bare))


def test_a_session_continues_with_the_times_of_its_events() -> None:
    """Item by item as in one go, also beyond the window."""
    model = build(language={"kind": "nano", "width": 32, "layers": 2, "relative_time": True})
    fast = InferenceModel(model, model.encode_catalogue())
    items, days = list(range(20)), np.cumsum(np.arange(20.0))
    reading = Reading(fast, items[:1], [days[0]])
    for length in range(2, 21):
        reading.add(items[length - 1], days[length - 1])
        whole = Sequences.from_lists([items[:length]]).with_columns(day=days[:length])
        expected = inference_queries(fast, whole, sampling=SAMPLING, seed=0).latents
        torch.testing.assert_close(reading.latent(SAMPLING), expected, atol=1e-5, rtol=1e-4)


def test_training_hides_the_signals_of_some_histories() -> None:
    torch.manual_seed(0)
    tokens = EventTokens(4, kinds=2, values=False, gaps=False, wait=False).train()
    torch.nn.init.ones_(tokens.kind.weight)  # type: ignore[union-attr]
    tokens.kind.weight.data[0] = 0  # type: ignore[union-attr]
    added = tokens(Events(kind=torch.zeros(2000, 3, dtype=torch.int64)))
    hidden = (added == 0).all(-1)
    assert torch.equal(hidden.any(1), hidden.all(1)), "a history as a whole"
    assert 0.05 < float(hidden.float().mean()) < 0.15


def test_values_are_told_apart_or_read_by_quantile() -> None:
    tokens = EventTokens(4, kinds=0, values=True, gaps=False, wait=False)
    tokens.fit_values(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, float("nan")]))
    assert tokens._value_places(torch.tensor([[1.0, 2.0, 5.0, float("nan"), 0.0, 9.0]])).tolist() == [
        [1, 2, 5, 0, 0, 5]
    ]
    tokens.fit_values(torch.arange(1000.0))
    places = tokens._value_places(torch.arange(1000.0)[None])[0]
    assert places.unique().numel() == 16
    assert bool((places.diff() >= 0).all())
    tokens.fit_values(torch.tensor([1e308, 1.0]).float())
    assert tokens._value_places(torch.tensor([[1.0]])).tolist() == [[1]]


def test_gaps_are_logarithmic() -> None:
    seconds = np.array([0, 1, 3, 60, 3600, 86_400, 30 * 86_400.0, 1e30])
    buckets = gap_buckets(seconds / 86_400)
    assert (np.diff(buckets) > 0).all()
    assert buckets[0] == 1
    assert buckets[-1] == GAPS - 1
    assert gap_buckets(np.array([np.nan, -5.0])).tolist() == [0, 1], "unknown, and a time before the last event"
