"""DeftRec with a decoder of semantic ids in place of the diffusion head."""

from dataclasses import replace

import torch
from studies.semantic_ids.head import SemanticIdHead, SemanticIdOptions

from deftrec.config import DiffusionOptions
from deftrec.diffusion import Head
from deftrec.model import DeftRec, ItemLatents
from deftrec.tokenizer import ItemFeatures


def semantic_id_model(options: SemanticIdOptions) -> type[DeftRec]:
    """A DeftRec class that decodes semantic ids.

    Its generated "latent" is the vector of all items' probabilities, and an item's latent is a unit vector. Their
    cosine ranks items by probability, so that training, evaluation and recommendation need no other change. Memory is
    quadratic in the number of items.
    """

    class SemanticIdDeftRec(DeftRec):
        """DeftRec with a decoder of semantic ids."""

        @staticmethod
        def build_head(features: ItemFeatures, width: int, _: DiffusionOptions) -> Head:
            """See `DeftRec.build_head`. A run that is loaded has no features yet; its ids are among the weights."""
            head = SemanticIdHead(width, options, len(features.values))
            if features.values.any():
                head.prepare(features.values)
            return head

        def encode_catalogue(self, chunk: int = 65_536) -> ItemLatents:
            """See `DeftRec.encode_catalogue`."""
            catalogue = super().encode_catalogue(chunk)
            return replace(catalogue, latents=torch.eye(len(catalogue.latents), device=catalogue.latents.device))

    return SemanticIdDeftRec
