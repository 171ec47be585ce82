"""Continuous against discrete tokens: python -m studies.discrete_tokens --data DIR [--recipe NAME] [--set KEY=VALUE]"""

from studies.discrete_tokens.model import discrete_model
from studies.discrete_tokens.quantiser import CodebookOptions
from studies.replaced_parts import compare, read_arguments

from deftrec.model import DeftRec

if __name__ == "__main__":
    interactions, config = read_arguments("Test NDCG@10 of continuous tokens and of discrete tokens.")
    models = {"continuous": DeftRec, "vq": discrete_model(CodebookOptions("vq"))}
    if config.tokenizer.ways == 1:
        models["rq"] = discrete_model(CodebookOptions("rq"))
    compare(models, interactions, config)
