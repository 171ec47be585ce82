"""DeftRec with discrete tokens: the item tokenizer's output is quantised."""

from studies.discrete_tokens.quantiser import QUANTISERS, CodebookOptions, Quantiser
from torch import Tensor

from deftrec.batch import Batch
from deftrec.config import Config
from deftrec.model import DeftRec
from deftrec.tokenizer import ItemFeatures, RobustTokenizer, Tokens


class DiscreteTokenizer(RobustTokenizer):
    """A robust tokenizer followed by codebooks.

    Attributes:
        commitment: commitment loss of the last forward pass, scalar.
    """

    quantiser: Quantiser
    commitment: Tensor

    def forward(self, x: Tensor) -> Tokens:
        """See `RobustTokenizer.forward`."""
        ways, self.commitment = self.quantiser(super().forward(x).ways)
        return Tokens(ways, ways.mean(1))


def discrete_model(options: CodebookOptions) -> type[DeftRec]:
    """A DeftRec class whose items have discrete tokens."""

    class DiscreteDeftRec(DeftRec):
        """DeftRec with discrete item tokens and a commitment loss."""

        @staticmethod
        def build_item_tokenizer(features: ItemFeatures, width: int, config: Config) -> RobustTokenizer:
            """See `DeftRec.build_item_tokenizer`."""
            columns = features.values.shape[1]
            tokenizer = DiscreteTokenizer(columns, width, config.tokenizer, features.droppable[0])
            tokenizer.quantiser = QUANTISERS[options.kind](config.tokenizer.ways, width, options)
            return tokenizer

        def forward(self, batch: Batch) -> dict[str, Tensor]:
            """See `DeftRec.forward`; adds `commitment` to the losses."""
            losses = super().forward(batch)
            assert isinstance(self.item_tokenizer, DiscreteTokenizer)
            commitment = self.item_tokenizer.commitment
            loss = losses["loss"] + options.commitment * commitment
            return {**losses, "commitment": commitment, "loss": loss}

    return DiscreteDeftRec
