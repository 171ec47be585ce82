"""`deftrec mcp`: a run as tools of an assistant, by the Model Context Protocol."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from deftrec.cli.console import listening, working
from deftrec.cli.options import RunFolder, flag, option
from deftrec.cli.threads import settle_threads
from deftrec.errors import ConfigError, MissingExtraError


def mcp(
    run: RunFolder,
    transport: Annotated[
        Literal["stdio", "http"],
        option("stdio: an assistant starts this command; http: assistants reach it at http://HOST:PORT/mcp."),
    ] = "stdio",
    allow_writes: Annotated[
        bool, flag("--allow-writes", "Add the tool add_event, which stores interactions; without it tools only read.")
    ] = False,
    host: Annotated[
        str, option("Address to listen on; addresses that other machines reach need --api-keys.")
    ] = "127.0.0.1",
    port: Annotated[int, option("Port to listen on; 0: any free port.", min=0, max=65535)] = 8001,
    api_keys: Annotated[
        Path | None, option("File of API keys for http, made with 'deftrec api-key'.", "FILE", "--api-keys", "--keys")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Event store, shared with 'deftrec serve': sqlite:///PATH or a postgresql:// URL; "
            "default: events.sqlite beside the run.",
            envvar="DEFTREC_STORE",
            metavar="URL",
        ),
    ] = None,
    rules: Annotated[Path | None, option("YAML file of business rules for every list.", "FILE")] = None,
    rate: Annotated[float, option("Requests per second that a key may send on average; 0: no limit.", min=0)] = 200.0,
    deadline: Annotated[float, option("Seconds until a waiting call is answered with an error.", min=0.001)] = 10.0,
) -> None:
    """Offer a run's recommendations to an assistant by the Model Context Protocol, until it closes or Ctrl-C.

    Example: deftrec mcp runs/ml-100k
    """
    if find_spec("mcp") is None:
        raise MissingExtraError("mcp", "mcp", "deftrec mcp")
    if transport == "stdio" and api_keys is not None:
        raise ConfigError("--api-keys guards --transport http; over stdio the assistant runs as you and needs no key")
    with listening() as progress, working(progress, f"loading {run}"):
        from deftrec.serving.mcp.server import PATH, create_http_app, serve_stdio
        from deftrec.serving.server import open_service, serve_until_stopped
        from deftrec.serving.settings import Settings

        settle_threads(progress)
        more: dict[str, Any] = {"rules": rules, "rate": rate, "deadline": deadline, "reasoning_refresh": False}
        service = open_service(Settings(run=run, store=store, host=host, port=port, api_keys=api_keys, **more))
    if transport == "stdio":
        serve_stdio(service, allow_writes=allow_writes)
        return
    serve_until_stopped(
        service,
        ready=lambda address: print(f"{address}{PATH} serves {run}; Ctrl-C stops it", flush=True),
        make_app=partial(create_http_app, allow_writes=allow_writes),
    )
