"""Ablation: each claim of the paper as one variant of a recipe, trained and measured like the recipe."""

from studies.ablation.report import write_ablation
from studies.ablation.study import Measured, Study
from studies.ablation.variants import BASE, Variant, choose_variants, load_variants

__all__ = ["BASE", "Measured", "Study", "Variant", "choose_variants", "load_variants", "write_ablation"]
