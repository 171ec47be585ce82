"""The command line as a script would call it, and options that train a tiny run in a second.

Its joint stage learns next to nothing, so that validation is sure to want the collaborative prior.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

TINY = shlex.split(
    "--recipe nano --set collaborative.dim=8 --set collaborative.epochs=5 --set language.width=16 "
    "--set language.layers=1 --set diffusion.width=16 --set tokenizer.hidden=16 --set training.epochs=2 "
    "--set training.learning_rate=1e-5 --set training.batch_positions=256"
)
HOSTILE = "[bold]number {}[/bold] <script>alert('{}')</script>"
COMMA = "i,100"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Call = Callable[..., Said]
