"""DeftRec by the authors' procedure."""

from dataclasses import replace

from studies.authors.head import AuthorsHead, nearest_first
from studies.authors.tokenizer import ReconstructingTokenizer
from torch import Tensor, nn

from deftrec.batch import Batch
from deftrec.config import Config, DiffusionOptions
from deftrec.data import PADDING
from deftrec.diffusion import Head
from deftrec.model import DeftRec, ItemLatents
from deftrec.tokenizer import ItemFeatures, RobustTokenizer


class AuthorsDeftRec(DeftRec):
    """A frozen tokenizer, one target per sequence, the error of the noise, and retrieval by Euclidean distance."""

    @staticmethod
    def build_item_tokenizer(features: ItemFeatures, width: int, config: Config) -> RobustTokenizer:
        """See `DeftRec.build_item_tokenizer`. A run that is loaded has no features yet, and nothing to train on."""
        columns = features.values.shape[1]
        tokenizer = ReconstructingTokenizer(columns, width, config.tokenizer)
        tokenizer.decoder = nn.Linear(width, columns)
        if features.values.any():
            tokenizer.train_alone(features.values)
        return tokenizer

    @staticmethod
    def build_head(features: ItemFeatures, width: int, options: DiffusionOptions) -> Head:
        """See `DeftRec.build_head`."""
        return AuthorsHead(width, options)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See `DeftRec.forward`; learns from the last target of each sequence only."""
        segments = nn.functional.pad(batch.layout.segments, (0, 1), value=PADDING)
        last = segments[:, :-1] != segments[:, 1:]
        return super().forward(replace(batch, targets=batch.targets.where(last, PADDING)))

    def encode_catalogue(self, chunk: int = 65_536) -> ItemLatents:
        """See `DeftRec.encode_catalogue`."""
        catalogue = super().encode_catalogue(chunk)
        return replace(catalogue, latents=nearest_first(catalogue.latents))
