"""The authors' procedure against the default: python -m studies.authors --data DIR [--recipe NAME] [--set KEY=VALUE]"""

from pathlib import Path

from studies.authors.model import AuthorsDeftRec
from studies.replaced_parts import compare, read_arguments

from deftrec import load_recipe
from deftrec.model import DeftRec

if __name__ == "__main__":
    interactions, config = read_arguments("Test NDCG@10 of a recipe and of the authors' procedure.")
    compare({"recipe": DeftRec}, interactions, config)
    compare({"authors": AuthorsDeftRec}, interactions, load_recipe(str(Path(__file__).with_name("authors.yaml"))))
