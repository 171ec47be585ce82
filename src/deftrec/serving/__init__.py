"""HTTP service of a trained run: it stores events and recommends items by the newest history.

Order of reading: `settings`, `store` (events), `catalogue`, `rules`, `index` and `engine` (the model), `model_manager`
(which run is served), `queues` (batching and limits), `service` (all of these together), `routes` and `app` (HTTP),
`server` (the process).
"""

from deftrec.errors import MissingExtraError

for _library in ("fastapi", "uvicorn", "sqlalchemy", "alembic", "prometheus_client"):
    try:
        __import__(_library)
    except ModuleNotFoundError as error:
        raise MissingExtraError(_library, "serve", "the service") from error
