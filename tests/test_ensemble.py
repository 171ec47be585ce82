"""Several members as one model: what comes out is the mean of what each of them says."""

from pathlib import Path

import pytest
import torch

from deftrec import Recommender
from deftrec.data import make_split
from deftrec.diffusion import Sampling
from deftrec.ensemble import Ensemble
from deftrec.progress import Silent
from deftrec.retrieval import generate_queries
from toy import ring, tiny_config

TRAINING = {"epochs": 2, "ensemble_size": 3}


@pytest.fixture(scope="module")
def fitted() -> Recommender:
    return Recommender.fit(ring(), tiny_config(training=TRAINING))


def test_its_scores_are_the_mean_of_the_members(fitted: Recommender) -> None:
    ensemble = fitted.model
    assert isinstance(ensemble, Ensemble)
    histories = make_split(fitted.interactions, "leave-one-out").cases("test").histories.select(range(40))
    asked = {"sampling": Sampling.of(fitted.config.diffusion), "seed": 0}

    def scores(model: torch.nn.Module) -> torch.Tensor:
        catalogue = model.encode_catalogue()
        queries = generate_queries(model, catalogue, histories, **asked).latents
        return queries @ catalogue.latents.T  # all of unit norm

    mean = torch.stack([scores(member) for member in ensemble.members]).mean(0)
    torch.testing.assert_close(scores(ensemble), mean, atol=1e-5, rtol=1e-4)


def test_members_differ_and_the_first_is_the_single_model(fitted: Recommender) -> None:
    single = Recommender.fit(ring(), tiny_config(training={**TRAINING, "ensemble_size": 1}))
    first, second, third = (member.encode_catalogue().latents for member in fitted.model.members)
    assert torch.equal(first, single.catalogue.latents)
    assert not torch.allclose(first, second, atol=0.1)
    assert not torch.allclose(second, third, atol=0.1)


def test_every_member_is_logged_and_counted(fitted: Recommender) -> None:
    assert {"joint", "joint-2", "joint-3"} < set(fitted.info.history)
    assert fitted.info.parameters == sum(p.numel() for p in fitted.model.parameters())
    assert fitted.info.validation == pytest.approx(
        fitted.evaluate("validation", parts="latent").metrics["ndcg@10"], abs=1e-4
    )


def test_an_interrupted_ensemble_goes_on(tmp_path: Path) -> None:
    config = tiny_config(training=TRAINING)
    whole = Recommender.fit(ring(), config, out=tmp_path / "whole", refit=True)

    class Breaking(Silent):
        def begin(self, task: str, total: int) -> None:
            if task == "refit-joint-2":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Recommender.fit(ring(), config, out=tmp_path / "broken", refit=True, progress=Breaking())
    resumed = Recommender.fit(ring(), config, out=tmp_path / "broken", refit=True, resume=True)
    assert torch.equal(resumed.catalogue.latents, whole.catalogue.latents)
    again = Recommender.load(tmp_path / "broken")
    assert torch.equal(again.catalogue.latents, whole.catalogue.latents)
