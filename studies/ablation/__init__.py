"""Each claim of the paper as one row: variants of the recipe, trained and measured alike."""

from studies.ablation.comparison import Comparison, SliceComparison, compare, compare_slices
from studies.ablation.study import Measured, Study
from studies.ablation.variants import BASE, Variant, choose_variants, load_variants
from studies.ablation.write import write_ablation

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
