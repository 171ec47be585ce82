"""The heads by their option's value."""

from deftrec.diffusion.base import Head
from deftrec.diffusion.direct import DirectHead
from deftrec.diffusion.head import DiffusionHead

HEADS: dict[str, type[Head]] = {
    "diffusion": DiffusionHead,
    "direct": DirectHead,
}
