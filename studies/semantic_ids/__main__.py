"""Diffusion against semantic ids: python -m studies.semantic_ids --data DIR [--recipe NAME] [--set KEY=VALUE]"""

from studies.replaced_parts import compare, read_arguments
from studies.semantic_ids.head import SemanticIdOptions
from studies.semantic_ids.model import semantic_id_model

from deftrec.model import DeftRec

if __name__ == "__main__":
    interactions, config = read_arguments("Test NDCG@10 of diffusion and of generated semantic ids.")
    one = config.model_copy(update={"training": config.training.model_copy(update={"ensemble_size": 1})})
    compare({"diffusion": DeftRec, "semantic ids": semantic_id_model(SemanticIdOptions())}, interactions, one)
