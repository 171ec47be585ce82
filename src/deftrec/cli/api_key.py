"""`deftrec api-key`: make an API key for the service."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def api_key(
    name: Annotated[str, typer.Argument(help="Name of the key's user, for the logs.", metavar="NAME")],
    scope: Annotated[
        Literal["read", "write", "admin"],
        typer.Option(
            help="Permissions. read: requests; write: also events; admin: also erase users, switch models, edit items."
        ),
    ],
    file: Annotated[Path, typer.Option(help="File of key hashes, for 'deftrec serve --api-keys'.", metavar="FILE")],
) -> None:
    """Make an API key and print it once. The file holds only its hash.

    Example: deftrec api-key shop --scope write --file keys.json
    """
    from deftrec.serving.keys import add_key

    print(add_key(file, name, scope))
