"""`deftrec serve` and `deftrec api-key`: HTTP service of a run with a demo page, and keys for it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from deftrec.cli.console import listening, working
from deftrec.cli.options import RunFolder, Runtime, argument, flag, option
from deftrec.cli.threads import settle_threads


def serve(
    run: RunFolder,
    store: Annotated[
        str | None,
        typer.Option(
            help="Event store: sqlite:///PATH, or a postgresql:// URL with user, password, host and name; "
            "default: events.sqlite beside the run.",
            envvar="DEFTREC_STORE",  # other users of the machine can read a password on the command line
            metavar="URL",
        ),
    ] = None,
    host: Annotated[
        str, option("Address to listen on; addresses that other machines reach need --api-keys.")
    ] = "127.0.0.1",
    port: Annotated[int, option("Port to listen on; 0: any free port.", min=0, max=65535)] = 8000,
    api_keys: Annotated[Path | None, option("File of API keys, made with 'deftrec api-key'.", "FILE")] = None,
    index: Annotated[
        Literal["auto", "exact", "faiss", "faiss-ivfpq", "pgvector"],
        option(
            "Index for finding items; auto: exact for small catalogues, faiss-ivfpq for large ones. faiss needs "
            "the extra of that name, pgvector a PostgreSQL store with pgvector."
        ),
    ] = "auto",
    rules: Annotated[Path | None, option("YAML file of business rules for every request.", "FILE")] = None,
    runtime: Runtime = "torch",
    no_reasoning_refresh: Annotated[
        bool,
        flag(
            "--no-reasoning-refresh",
            "Use only the reasoning that is stored (see 'deftrec reason'); do not compute more in the background.",
        ),
    ] = False,
    rate: Annotated[float, option("Requests per second that a key may send on average; 0: no limit.", min=0)] = 200.0,
    deadline: Annotated[float, option("Seconds until a waiting request is answered with 503.", min=0.001)] = 10.0,
) -> None:
    """Serve a run over HTTP until Ctrl-C; the page at / shows recommendations and their reasons.

    Example: deftrec serve runs/ml-100k --port 8000
    """
    with listening() as progress, working(progress, f"loading {run}"):
        from deftrec.serving.server import open_service, serve_until_stopped
        from deftrec.serving.settings import Settings

        more: dict[str, Any] = {"index": index, "runtime": runtime, "rules": rules, "rate": rate, "deadline": deadline}
        more["reasoning_refresh"] = not no_reasoning_refresh
        settings = Settings(run=run, store=store, host=host, port=port, api_keys=api_keys, **more)
        settle_threads(progress)
        service = open_service(settings)
    serve_until_stopped(service, ready=lambda address: print(f"{address} serves {run}; Ctrl-C stops it", flush=True))


def api_key(
    name: Annotated[str, argument("Owner of the key; appears in the logs.", "NAME")],
    scope: Annotated[
        Literal["read", "write", "admin"],
        option("read: queries; write: also events; admin: also erasing users, switching models and changing items."),
    ],
    file: Annotated[Path, option("File for the key's hash, given to 'deftrec serve --api-keys'.", "FILE")],
) -> None:
    """Make an API key and print it. The file stores only its hash, so the key cannot be shown again.

    Example: deftrec api-key shop --scope write --file keys.json
    """
    from deftrec.serving.keys import add_key

    print(add_key(file, name, scope))
