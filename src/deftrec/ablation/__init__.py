"""Each claim of the paper as one row: variants of the recipe, trained and measured alike."""

from deftrec.ablation.comparison import Comparison, compare
from deftrec.ablation.study import Measured, Study
from deftrec.ablation.variants import BASE, Variant, choose_variants, load_variants
from deftrec.ablation.write import write_ablation

__all__ = [
    "BASE",
    "Comparison",
    "Measured",
    "Study",
    "Variant",
    "choose_variants",
    "compare",
    "load_variants",
    "write_ablation",
]
