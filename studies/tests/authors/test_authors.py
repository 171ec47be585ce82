"""The authors' procedure: each part does what it is for, and the whole is trained, saved and loaded."""

from pathlib import Path

import pytest
import torch
from studies.authors import model as authors
from studies.authors.head import AuthorsHead, as_queries, nearest_first
from studies.authors.model import AuthorsDeftRec
from studies.authors.tokenizer import ReconstructingTokenizer
from studies.replaced_parts import replaced
from torch import Tensor
from torch.nn import functional as F

from deftrec import Recommender, load_recipe
from deftrec.batch import Batch
from deftrec.config import DiffusionOptions, ObjectiveOptions, TokenizerOptions
from deftrec.data import PADDING
from deftrec.diffusion import NextItems, Objective
from deftrec.language import Layout
from deftrec.model import DeftRec
from toy import ring, tiny_config

D = 6
RECIPE = Path(authors.__file__).with_name("authors.yaml")


def tokenizer(ways: int = 2) -> ReconstructingTokenizer:
    options = TokenizerOptions(ways=ways, hidden=16, dropout=0.0, mask_features=0.2, drop_collaborative=0.0, noise=0.1)
    made = ReconstructingTokenizer(10, D, options)
    made.decoder = torch.nn.Linear(D, 10)
    return made


@pytest.mark.parametrize("ways", [1, 3])
def test_a_tokenizer_learns_its_losses_and_is_frozen(ways: int) -> None:
    model, features = tokenizer(ways), torch.randn(60, 3) @ torch.randn(3, 10)
    history = model.train_alone(features, epochs=800)
    assert set(history[0]) == {"reconstruction", "mean"} | ({"redundancy"} if ways > 1 else set())
    assert history[-1]["reconstruction"] < history[0]["reconstruction"] / 2
    model.train()
    assert torch.equal(model(features).ways, model(features).ways)  # no masking, no noise
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_error_is_that_of_the_noise() -> None:
    """Ho et al. 2020: the simple loss is |eps_hat - eps|^2, whatever the time."""
    head = AuthorsHead(D, DiffusionOptions(prediction="eps", pure_noise_share=0.0))
    answer, latents, targets = torch.randn(50, D), torch.randn(7, D), torch.randint(7, (50,))
    added: list[Tensor] = []

    def predict(x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        alpha, sigma = head.schedule.alpha(t)[:, None], head.schedule.sigma(t)[:, None]
        added.append((x - alpha * latents[targets]) / sigma)
        return answer

    head.denoiser.forward = predict  # type: ignore[method-assign]
    none = torch.zeros(0, 2, dtype=torch.int64)
    next_items = NextItems(torch.zeros(50, D), torch.arange(7), latents, targets, none, None)
    loss = head.losses(next_items, Objective(ObjectiveOptions(negatives="none", error_weight=1.0)))["loss"]
    torch.testing.assert_close(loss, (answer - added[0]).square().sum(-1).mean(), atol=1e-3, rtol=1e-3)


def test_the_cosine_ranks_by_distance() -> None:
    items, queries = torch.randn(30, D) * torch.rand(30, 1) * 4, torch.randn(5, D)
    scores = F.normalize(as_queries(queries), dim=-1) @ nearest_first(items).T
    assert torch.equal(scores.argsort(1, descending=True), torch.cdist(queries, items).argsort(1))


def test_the_last_target_of_a_sequence_alone_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    monkeypatch.setattr(DeftRec, "forward", lambda self, batch: seen.append(batch.targets) or {})
    layout = Layout(torch.tensor([[0, 0, 0, 1, 1, PADDING]]), torch.tensor([[0, 1, 2, 0, 1, 0]]))
    batch = Batch(
        torch.arange(9), torch.tensor([[1, 2, 3, 5, 6, PADDING]]), torch.tensor([[2, 3, 4, 6, 7, -1]]), layout
    )
    AuthorsDeftRec.forward(object.__new__(AuthorsDeftRec), batch)
    assert seen[0].tolist() == [[PADDING, PADDING, 4, PADDING, 7, PADDING]]


def test_the_procedure_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    options = load_recipe(str(RECIPE), ["training.epochs=3", "diffusion.steps=5", "tokenizer.hidden=16"])
    tiny = tiny_config()
    config = options.model_copy(update={"collaborative": tiny.collaborative, "language": tiny.language})
    with replaced(AuthorsDeftRec):
        fitted = Recommender.fit(ring(users=80), config, out=tmp_path / "run")
        loaded = Recommender.load(tmp_path / "run")
    assert isinstance(fitted.model, AuthorsDeftRec)
    assert loaded.evaluate("test", parts="latent") == fitted.evaluate("test", parts="latent")
    history = fitted.interactions.history(fitted.interactions.users[0])
    assert loaded.recommend(history=history, k=5) == fitted.recommend(history=history, k=5)
