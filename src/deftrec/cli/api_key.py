"""`deftrec api-key`: a key for a service, shown once."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def api_key(
    name: Annotated[str, typer.Argument(help="Who will use it; it stands in the logs.", metavar="NAME")],
    scope: Annotated[
        Literal["read", "write", "admin"],
        typer.Option(
            help="read asks; write sends events too; admin erases users, switches models and changes items too."
        ),
    ],
    file: Annotated[Path, typer.Option(help="Where its hash is kept, for 'deftrec serve --api-keys'.", metavar="FILE")],
) -> None:
    """Make an API key and print it; the file keeps its hash alone, so nobody can show it again.

    Example: deftrec api-key shop --scope write --file keys.json
    """
    from deftrec.serving.keys import add_key

    print(add_key(file, name, scope))
