"""A trained run over HTTP: events come in, recommendations go out with the newest history.

Read it in this order: `settings` (every limit), `store` (what is kept), `catalogue`, `index` and `engine` (the model;
but for `run`, no other room knows torch), `holder` (which model), `batching` and `threads` (who waits for whom),
`service` (all of these together), `routes` and `app` (HTTP), `run` (the process).
"""

from deftrec.errors import MissingExtraError

for _library in ("fastapi", "uvicorn", "sqlalchemy", "alembic", "prometheus_client"):
    try:
        __import__(_library)
    except ModuleNotFoundError as error:
        raise MissingExtraError(_library, "serve", "the service") from error
