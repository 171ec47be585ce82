"""The heads by their option's value."""

from deftrec.diffusion.base import Head
from deftrec.diffusion.direct import DirectHead
from deftrec.diffusion.head import DiffusionHead
from studies.semantic_ids.head import SemanticIdHead

HEADS: dict[str, type[Head]] = {
    "diffusion": DiffusionHead,
    "direct": DirectHead,
    "semantic-ids": SemanticIdHead,
}
