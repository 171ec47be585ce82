"""`deftrec api-key`: makes an API key for the service and shows it once."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def api_key(
    name: Annotated[str, typer.Argument(help="Owner of the key; appears in the logs.", metavar="NAME")],
    scope: Annotated[
        Literal["read", "write", "admin"],
        typer.Option(
            help="read: queries; write: also events; admin: also erasing users, switching models and changing items."
        ),
    ],
    file: Annotated[
        Path, typer.Option(help="File for the key's hash, given to 'deftrec serve --api-keys'.", metavar="FILE")
    ],
) -> None:
    """Make an API key and print it. The file stores only its hash, so the key cannot be shown again.

    Example: deftrec api-key shop --scope write --file keys.json
    """
    from deftrec.serving.keys import add_key

    print(add_key(file, name, scope))
