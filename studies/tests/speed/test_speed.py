"""The systems that speed is measured of: each gives real lists, and what is measured of them adds up."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.machine_rates import Rates, measure_rates
from studies.speed import SpeedTable, measure_speed, study, systems, tiger
from studies.speed.systems import OneStep, Plain, Setting
from studies.speed.tiger import Tiger

from deftrec.data import Sequences, make_split
from deftrec.errors import ConfigError
from deftrec.flops import counting
from deftrec.progress import Silent
from deftrec.retrieval import Found
from deftrec.tensors import joined
from deftrec.training.fit import resolve
from toy import ring, tiny_bert, tiny_config

CPU, K = torch.device("cpu"), 5
EVERY_SYSTEM = pytest.mark.parametrize("kind", study.SYSTEMS, ids=lambda kind: kind.name)


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "DREAMREC", replace(systems.DREAMREC, steps=3))
    monkeypatch.setattr(systems, "AUTHORS", replace(systems.AUTHORS, steps=2))
    monkeypatch.setattr(systems, "AUTHORS_WORDS", 3)
    monkeypatch.setattr(tiger, "CODE_LEVELS", 2)
    monkeypatch.setattr(tiger, "CODE_SIZE", 6)
    monkeypatch.setattr(study, "LEAST_SECONDS", 1e-6)
    monkeypatch.setattr(study, "measure_rates", lambda device: Rates(1e9, 2e9, 3e9))


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """A recipe whose language model writes."""
    reads = {"kind": "pretrained", "model": str(tiny_bert(tmp_path / "bert")), "prompts": ("what next : {history}",)}
    return {"language": reads, "diffusion": {"width": 32, "depth": 1}}


@pytest.fixture
def setting(options: dict[str, Any]) -> Setting:
    torch.manual_seed(0)
    interactions = ring(users=30)
    config = resolve(tiny_config(**options), interactions, make_split(interactions, "leave-one-out"))
    return Setting(config, interactions, study._features(config, interactions.n_items), K, torch.float32, CPU)


def histories(setting: Setting) -> Sequences:
    """Of several lengths, one of them longer than the window is not."""
    whole = list(setting.interactions.sequences)
    return Sequences.from_lists([history[: 2 + n % 5] for n, history in enumerate(whole[:12])])


def same(found: Found, other: Found) -> None:
    assert torch.equal(found.items, other.items)
    torch.testing.assert_close(found.scores, other.scores, atol=1e-4, rtol=1e-4)


@EVERY_SYSTEM
def test_lists_hold_items_that_were_not_seen(kind: type[systems.System], setting: Setting) -> None:
    asked = histories(setting)
    found = kind(setting).recommend(asked)
    assert found.items.shape == (len(asked), K)
    for history, items in zip(asked, found.items.tolist(), strict=True):
        assert len(set(items)) == K
        assert set(items) <= set(range(setting.interactions.n_items)) - set(history.tolist())


@EVERY_SYSTEM
def test_a_batch_answers_as_one_user_after_the_other(kind: type[systems.System], setting: Setting) -> None:
    asked = histories(setting)
    if kind is Tiger:  # brings a batch to one length
        asked = Sequences.from_lists([history[:2] for history in asked])
    system = kind(setting)
    same(system.recommend(asked), joined([system.recommend(asked.select([n])) for n in range(len(asked))]))


@EVERY_SYSTEM
def test_half_the_width_answers_too(kind: type[systems.System], setting: Setting) -> None:
    found = kind(replace(setting, dtype=torch.bfloat16)).recommend(histories(setting))
    assert (found.items >= 0).all()


def test_the_fast_row_and_the_plain_one_answer_the_same(setting: Setting) -> None:
    torch.manual_seed(0)
    fast = OneStep(setting)
    torch.manual_seed(0)
    same(fast.recommend(histories(setting)), Plain(setting).recommend(histories(setting)))


def test_a_beam_that_holds_everything_gives_every_items_probability(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiger, "BEAM", 1000)
    system = Tiger(replace(setting, k=setting.interactions.n_items))
    history = histories(setting).select([3])
    found = system.recommend(history)
    codes, levels = system.codes, torch.arange(system.levels)
    read = system.embeddings[levels, codes[torch.from_numpy(history.items).long()]].flatten(0, 1)
    for item, score in zip(found.items[0].tolist(), found.scores[0].tolist(), strict=True):
        if item < 0:
            continue
        total, known = 0.0, torch.ones(len(codes), dtype=torch.bool)
        for level in range(system.levels):
            sequence = torch.cat([read, system.embeddings[levels[:level], codes[item, :level]]])[None]
            last = torch.tensor([sequence.shape[1] - 1])
            hidden = system.reader.read(sequence, last, system.reader.begin(1))[0]
            exist = codes[known, level].unique()
            chances = (system.leave[level] @ hidden)[exist].log_softmax(0)
            total += float(chances[exist == codes[item, level]])
            known &= codes[:, level] == codes[item, level]
        assert score == pytest.approx(total, abs=1e-3)
    assert (found.items[0] >= 0).sum() == setting.interactions.n_items - len(set(history.items.tolist()))


def measure(options: dict[str, Any], names: list[str] | None = None) -> SpeedTable:
    return measure_speed(
        ring(users=30),
        tiny_config(**options),
        systems=names,
        users=8,
        k=K,
        precision="fp32",
        device=CPU,
        progress=Silent(),
    )


def test_a_table_adds_up(options: dict[str, Any]) -> None:
    table = measure(options)
    assert [row.system for row in table.rows] == [kind.name for kind in study.SYSTEMS]
    first, *others = table.rows
    assert (first.ratio, first.single_ratio) == (1.0, 1.0)
    for row in others:
        assert row.ratio == pytest.approx(first.users_per_second / row.users_per_second)
        assert row.single_ratio == pytest.approx(row.milliseconds / first.milliseconds)
    for row in table.rows:
        assert row.matrix_share == pytest.approx(row.flops_per_user * row.users_per_second / 1e9)
    assert others[0].flops_per_user > first.flops_per_user
    assert json.loads(json.dumps(table.to_json_dict()))["rows"][0]["system"] == "deftrec"
    assert (table.users, table.precision) == (8, "fp32")


def test_some_of_the_systems(options: dict[str, Any]) -> None:
    assert [row.system for row in measure(options, ["sasrec"]).rows] == ["deftrec", "sasrec"]
    with pytest.raises(ConfigError, match="no system 'sasreck'; there are deftrec, deftrec plainly, sasrec"):
        measure(options, ["sasreck"])


def test_rates_are_those_of_some_machine() -> None:
    rates = measure_rates(CPU, size=64)
    assert min(rates.fp32, rates.bf16, rates.copy) > 1e6
    assert (rates.of(torch.float32), rates.of(torch.bfloat16)) == (rates.fp32, rates.bf16)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_counted(causal: bool) -> None:
    query, key = torch.randn(2, 3, 10, 8), torch.randn(2, 3, 10, 8)
    with counting() as work:
        torch.nn.functional.scaled_dot_product_attention(query, key, key, is_causal=causal)
    assert work.get_total_flops() == 2 * 2 * (2 * 3 * 10 * 10 * 8) // (2 if causal else 1)
