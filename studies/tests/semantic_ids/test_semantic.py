"""Semantic ids, the tree they are, and the beam search over it."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from studies.replaced_parts import replaced
from studies.semantic_ids.codes import CodeTree, kmeans, semantic_ids
from studies.semantic_ids.head import SemanticIdHead, SemanticIdOptions
from studies.semantic_ids.model import semantic_id_model
from torch import Tensor

from deftrec import Recommender
from deftrec.config import ObjectiveOptions
from deftrec.diffusion import NextItems, Objective, Sampling
from deftrec.errors import ConfigError
from toy import ring, tiny_config

D, ITEMS = 6, 20


def features(items: int = ITEMS) -> Tensor:
    return torch.randn(items, 8, generator=torch.Generator().manual_seed(1))


def make_head(**options: Any) -> SemanticIdHead:
    head = SemanticIdHead(D, SemanticIdOptions(width=16, levels=2, size=5, **options), ITEMS)
    head.prepare(features())
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return head.eval()


def test_every_item_has_an_id_of_its_own() -> None:
    codes = semantic_ids(features(), levels=2, size=5)
    assert codes.shape == (ITEMS, 3)
    assert len(torch.unique(codes, dim=0)) == ITEMS
    assert codes.min() >= 0
    assert codes.max() < 5
    torch.manual_seed(7)
    assert torch.equal(semantic_ids(features(), levels=2, size=5), codes)
    for rows in (codes[:, :2] == codes[0, :2]).all(1).nonzero()[:, 0].split(100):  # those that collide count up
        assert codes[rows, 2].tolist() == list(range(len(rows)))


def test_items_that_are_alike_share_their_first_codes() -> None:
    groups = torch.eye(3, 8).repeat_interleave(4, 0) * 10
    codes = semantic_ids(groups + 0.01 * torch.randn(12, 8), levels=2, size=3)
    assert len(torch.unique(codes[:, 0])) == 3
    for group in codes[:, 0].view(3, 4):
        assert (group == group[0]).all()


def test_too_many_equal_items_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"7 items have the same semantic id: raise size"):
        semantic_ids(torch.zeros(7, 8), levels=2, size=5)


def test_kmeans_finds_what_is_there() -> None:
    points = torch.cat([torch.randn(50, 2) * 0.1 + 5, torch.randn(50, 2) * 0.1 - 5])
    spread = [kmeans(points, 2, torch.Generator().manual_seed(seed)).mean(1).sort().values for seed in range(8)]
    best = min(spread, key=lambda centres: float((centres - torch.tensor([-5.0, 5.0])).abs().sum()))
    torch.testing.assert_close(best, torch.tensor([-5.0, 5.0]), atol=0.1, rtol=0)


def following(tree: CodeTree, level: int, node: int) -> dict[int, int]:
    """Codes that may follow a node, and where they lead."""
    pairs = zip(tree.codes[level][node].tolist(), tree.children[level][node].tolist(), strict=True)
    return {code: child for code, child in pairs if code >= 0}


def walk(codes: Tensor, path: tuple[int, ...]) -> int | None:
    """The item at the end of a path, or None."""
    tree, node = CodeTree.of(codes), 0
    for level, code in enumerate(path):
        children = following(tree, level, node)
        if code not in children:
            return None
        node = children[code]
    return node


def test_the_tree_leads_from_codes_to_items() -> None:
    codes = semantic_ids(features(), levels=2, size=5)
    found = {path: leaf for path in itertools.product(range(5), repeat=3) if (leaf := walk(codes, path)) is not None}
    assert found == {tuple(row): item for item, row in enumerate(codes.tolist())}


def log_p(head: SemanticIdHead, condition: Tensor) -> Tensor:
    """The chance of every item by going through all of them, renormalised over ids that exist. `[N, I]`"""
    tree = CodeTree.of(head.codes)
    rows = []
    for row in condition:
        values = []
        for codes in head.codes.tolist():
            hidden, node, total = torch.tanh(head.enter(row[None])), 0, 0.0
            for level, code in enumerate(codes):
                if level:
                    hidden = head._advance(hidden, torch.tensor([codes[level - 1]]), level)
                children = following(tree, level, node)
                logits = head.leave[level](hidden)[0]
                total += float(logits[code] - logits[list(children)].logsumexp(0))
                node = children[code]
            values.append(total)
        rows.append(values)
    return torch.tensor(rows)


@torch.no_grad()
def test_a_wide_beam_scores_everything_exactly() -> None:
    head, condition = make_head(beam=ITEMS), torch.randn(4, D)
    found = head.beam_search(condition)
    torch.testing.assert_close(found, log_p(head, condition), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(4))


@torch.no_grad()
@pytest.mark.parametrize("beam", [1, 3, 7])
def test_a_narrow_beam_misses_items_and_scores_the_others_alike(beam: int) -> None:
    head, condition = make_head(beam=beam), torch.randn(4, D)
    found, exact = head.beam_search(condition), log_p(head, condition)
    reached = found > float("-inf")
    assert (reached.sum(1) <= beam).all()
    assert (reached.sum(1) > 0).all()
    torch.testing.assert_close(found[reached], exact[reached], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(head.beam_search(condition[1:2])[0], found[1])


def asked(rows: int = 12) -> NextItems:
    none, candidates = torch.zeros(0, 2, dtype=torch.int64), torch.tensor([4, 7, 11, 19])
    condition = torch.randn(rows, D, requires_grad=True)
    return NextItems(condition, candidates, torch.randn(4, D), torch.arange(rows) % 4, none, None)


def test_the_loss_is_the_log_chance_of_the_targets_codes() -> None:
    head, wanted = make_head(), asked()
    losses = head.losses(wanted, Objective(ObjectiveOptions()))
    expected = 0.0
    for row, place in zip(wanted.condition, wanted.targets.tolist(), strict=True):
        codes = head.codes[wanted.candidates[place]].tolist()
        hidden = torch.tanh(head.enter(row[None]))
        for level, code in enumerate(codes):
            if level:
                hidden = head._advance(hidden, torch.tensor([codes[level - 1]]), level)
            expected -= head.leave[level](hidden)[0].log_softmax(0)[code].item()
    assert losses["loss"].item() == pytest.approx(expected / 12, rel=1e-4)
    assert set(losses) == {"loss", "code 1", "code 2", "code 3"}
    losses["loss"].backward()
    assert wanted.condition.grad is not None
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_ids_are_learnt() -> None:
    head, condition, targets = make_head().train(), torch.eye(4, D), torch.tensor([4, 7, 11, 19])
    wanted = NextItems(
        condition, targets, torch.randn(4, D), torch.arange(4), torch.zeros(0, 2, dtype=torch.int64), None
    )
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(100):
        loss = head.losses(wanted, Objective(ObjectiveOptions()))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert head.eval().beam_search(condition).argmax(1).tolist() == targets.tolist()


@torch.no_grad()
def test_the_answer_is_the_items_chances_and_ids_are_kept() -> None:
    head, condition = make_head(), torch.randn(3, D)
    sample = head.generate(condition, Sampling("ddim", 4, 1, 0.0, keep_path=True))
    assert torch.equal(sample.x0, head.beam_search(condition).exp())
    assert sample.path is not None
    assert sample.path.shape == (4, 3, ITEMS)
    other = SemanticIdHead(D, head.options, ITEMS).eval()
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.beam_search(condition), head.beam_search(condition))


def test_the_next_item_of_the_ring_is_found(tmp_path: Path) -> None:
    """Trained, ranked, saved and loaded as any other run."""
    options = SemanticIdOptions(levels=2, size=6, width=32, beam=24)
    with replaced(semantic_id_model(options)):
        config = tiny_config(retrieval={"prior": "none"}, training={"epochs": 25})
        fitted = Recommender.fit(ring(), config, out=tmp_path / "run")
        loaded = Recommender.load(tmp_path / "run")
    found = fitted.evaluate("test", parts="latent")
    assert found.metrics["ndcg@10"] > 0.865
    assert loaded.evaluate("test", parts="latent") == found
