"""Transformers over sequences by RecTools: SASRec, BERT4Rec, HSTU and eSASRec. The contract is in ../README.md.

    python run.py --inputs DIR --outputs DIR --model sasrec

Training is the library's own, an epoch at a time, until NDCG@10 on validation stops rising. An item without
interactions in the fit is unknown to the library and never recommended; users of such items alone get popular ones.
"""

import copy
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import polars as pl
import rectools
import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import BERT4RecModel, HSTUModel, SASRecModel
from rectools.models.nn.transformers.base import TransformerModelBase
from rectools.models.nn.transformers.ligr import LiGRLayers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from exchange import Cases, Inputs
from tuning import Fitted, Settings, Stopping, Train, run

MODELS = ("sasrec", "bert4rec", "hstu", "esasrec")
MAX_LENGTH, LONG = 200, 50
BATCH, LONG_BATCH = 128, 32  # logits take as much memory as a batch has places
MAX_EPOCHS = 300
PATIENCE = 20


def settings(name: str, inputs: Inputs) -> Iterator[Settings]:
    """Those to try, the usual ones first: strong dropout where histories are short.

    Inputs are as long as 95 % of the histories, up to 200 items: padding costs as much as items do.
    """
    lengths = inputs.events().group_by("user").len()["len"]
    length = min(MAX_LENGTH, int(lengths.quantile(0.95) or 1) + 2)
    batch = BATCH if length <= LONG else LONG_BATCH
    shape = {"n_blocks": 2, "n_heads": 2, "session_max_len": length, "batch_size": batch}
    short = float(lengths.mean() or 0) <= LONG and name != "bert4rec"  # which drops items of its own
    rates = (0.5, 0.2) if short else (0.2, 0.5)
    for factors, dropout, lr in (
        (64, rates[0], 2e-3),
        (128, rates[0], 1e-3),
        (64, rates[1], 1e-3),
        (128, rates[1], 1e-3),
        (128, rates[0], 2e-3),
    ):
        one = {**shape, "n_factors": factors, "dropout_rate": dropout, "lr": lr}
        match name:
            case "bert4rec":
                yield from ({**one, "mask_prob": probability} for probability in (0.4, 0.2))
            case "hstu":
                yield {**one, "temperature": 0.05}
            case "esasrec":
                yield {**one, "n_negatives": 64}
                yield {**one, "n_negatives": 256}
            case _:
                yield one
    if name == "sasrec":  # where the order says little
        yield {**shape, "n_factors": 64, "dropout_rate": 0.5, "lr": 1e-3, "use_pos_emb": False}


def make_model(name: str, settings: Settings) -> TransformerModelBase[Any]:
    """The library's model of these settings, not fitted yet."""
    match name:
        case "bert4rec":
            return BERT4RecModel(**settings, loss="softmax")
        case "hstu":
            rest = {key: value for key, value in settings.items() if key != "temperature"}
            # The relative time attention needs the time of the target, which no peer is told.
            return HSTUModel(
                **rest,
                loss="softmax",
                relative_time_attention=False,
                lightning_module_kwargs={"logits_t": settings["temperature"]},
            )
        case "esasrec":
            return SASRecModel(**settings, loss="sampled_softmax", transformer_layers_type=LiGRLayers)
        case _:
            return SASRecModel(**settings, loss="softmax")


def dataset(users: np.ndarray, items: np.ndarray, order: np.ndarray) -> Dataset:
    """Events as the library takes them; any increasing times do, as no model here uses more than the order."""
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: users,
                Columns.Item: items,
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(order, unit="s"),
            }
        )
    )


class Scorer:
    """Scores of a model, also while it is being trained. `popularity` serves those with no item it knows."""

    def __init__(self, model: TransformerModelBase[Any], popularity: np.ndarray) -> None:
        self.model, self.popularity = model, popularity

    def __call__(self, cases: Cases) -> np.ndarray:
        preparator, net = self.model.data_preparator, self.model.torch_model
        known = preparator.item_id_map.external_ids[preparator.n_item_extra_tokens :].astype(np.int64)
        scores = np.full((len(cases), len(self.popularity)), -np.inf, np.float32)
        scores[:, known] = self.popularity[known]
        rows = np.flatnonzero(np.bincount(cases.owners()[np.isin(cases.items, known)], minlength=len(cases)))
        if len(rows) == 0:
            return scores
        asked = dataset(cases.owners(), cases.items, np.arange(len(cases.items)))
        asked = preparator.transform_dataset_u2i(asked, rows)
        training, device = net.training, next(net.parameters()).device
        net.eval()
        logits = []
        with torch.no_grad():
            embeddings = net.item_model.get_all_embeddings()
            for batch in preparator.get_dataloader_recommend(asked, BATCH):
                sessions = net.encode_sessions({key: value.to(device) for key, value in batch.items()}, embeddings)
                logits.append(net.similarity_module(sessions[:, -1, :], embeddings).cpu())
        net.train(training)
        scores[np.ix_(rows, known)] = torch.cat(logits)[:, preparator.n_item_extra_tokens :].numpy()
        return scores


class Watch(Callback):
    """Asks `stopping` after every batch and epoch of a training."""

    def __init__(self, stopping: Stopping, score: Scorer) -> None:
        self.stopping, self.score = stopping, score
        self.epochs = 0.0

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # the library trains with a copy of the trainer, which has to speak to the same `stopping`

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.epochs = trainer.current_epoch + (batch_idx + 1) / trainer.num_training_batches
        trainer.should_stop = trainer.should_stop or self.stopping.within(self.epochs)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        net = self.score.model.torch_model
        if self.stopping.after(self.epochs, self.score, lambda: copy.deepcopy(net.state_dict())):
            trainer.should_stop = True


def trainer(name: str, inputs: Inputs) -> Train:
    torch.set_num_threads(inputs.threads)
    for logger in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # about workers of data loaders, loggers, and users with unknown items

    def train(settings: Settings, events: pl.DataFrame, stopping: Stopping) -> Fitted:
        seed_everything(inputs.seed, verbose=False)
        model = make_model(name, settings)
        popularity = np.bincount(events["item"].to_numpy(), minlength=inputs.items).astype(np.float32)
        score = Scorer(model, popularity)
        model._trainer = Trainer(  # the documented way to a trainer of one's own
            max_epochs=MAX_EPOCHS,
            devices=1,
            callbacks=[Watch(stopping, score)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        model.fit(dataset(*(events[column].to_numpy() for column in ("user", "item", "position"))))
        model.torch_model.load_state_dict(stopping.best_state)
        return Fitted(score, sum(parameter.numel() for parameter in model.torch_model.parameters()))

    return train


if __name__ == "__main__":
    run(__doc__, MODELS, settings, trainer, f"rectools {rectools.__version__}", PATIENCE)
