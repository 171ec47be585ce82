"""`deftrec serve`: a run over HTTP, and a page to try it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from deftrec.cli.console import listening, working
from deftrec.cli.options import RunFolder, Runtime


def serve(
    run: RunFolder,
    store: Annotated[
        str | None,
        typer.Option(
            help="Where events are kept: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME; "
            "events.sqlite beside the run unless said.",
            envvar="DEFTREC_STORE",  # a password on a command line is seen by everybody on the machine
            metavar="URL",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where it listens; others than this machine need --api-keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65535)] = 8000,
    api_keys: Annotated[
        Path | None, typer.Option(help="Keys that may ask, made with 'deftrec api-key'.", metavar="FILE")
    ] = None,
    index: Annotated[
        Literal["auto", "exact", "faiss", "faiss-ivfpq", "pgvector"],
        typer.Option(
            help="How items are found; auto: exact, or faiss-ivfpq for large catalogues. faiss needs the extra of that "
            "name, pgvector a PostgreSQL with it."
        ),
    ] = "auto",
    runtime: Runtime = "torch",
    rate: Annotated[
        float, typer.Option(help="Requests a second that a key may make on average; 0: any number.", min=0)
    ] = 200.0,
    deadline: Annotated[float, typer.Option(help="Seconds after which a request is given up.", min=0.001)] = 10.0,
) -> None:
    """Serve a run over HTTP until Ctrl-C; the page at / shows what it thinks.

    Example: deftrec serve runs/ml-100k --port 8000
    """
    with listening() as progress, working(progress, f"loading {run}"):
        from deftrec.serving.server import open_service, serve_until_stopped
        from deftrec.serving.settings import Settings

        settings = Settings(
            run=run,
            store=store,
            host=host,
            port=port,
            api_keys=api_keys,
            index=index,
            runtime=runtime,
            rate=rate,
            deadline=deadline,
        )
        service = open_service(settings)
    serve_until_stopped(service, ready=lambda address: print(f"{address} serves {run}; Ctrl-C stops it", flush=True))
