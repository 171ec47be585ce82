"""Each claim of the paper as one row: variants of the recipe, trained and measured alike."""

from deftrec.ablation.comparison import Comparison, SliceComparison, compare, compare_slices
from deftrec.ablation.study import Measured, Study
from deftrec.ablation.variants import BASE, Variant, choose_variants, load_variants
from deftrec.ablation.write import write_ablation

__all__ = [
    "BASE",
    "Comparison",
    "Measured",
    "SliceComparison",
    "Study",
    "Variant",
    "choose_variants",
    "compare",
    "compare_slices",
    "load_variants",
    "write_ablation",
]
