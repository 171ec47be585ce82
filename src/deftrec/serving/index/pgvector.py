"""HNSW index in the PostgreSQL of the event store; persistent, and shared by all workers."""

import numpy as np
import sqlalchemy as sa

from deftrec.errors import ConfigError
from deftrec.serving.index.base import IndexMetric, VectorIndex
from deftrec.serving.store.database import connect, store_errors

WIDEST = 2000  # largest vector width of pgvector's HNSW
MOST = 1000  # largest `hnsw.ef_search`, and so the largest number of neighbours that a search finds
LOCK = 0x0DEF8
OPERATORS: dict[IndexMetric, tuple[str, str]] = {"inner": ("vector_ip_ops", "<#>"), "l2": ("vector_l2_ops", "<->")}


class PgvectorIndex(VectorIndex):
    """Table of vectors `[I, D]` float32 with an HNSW index, made once per `version` (letters and digits) of a model.

    Raises a `ConfigError` if the store is not a PostgreSQL with pgvector, or the vectors are too wide; and a
    `StoreUnavailableError` if the store does not answer.
    """

    def __init__(self, vectors: np.ndarray, metric: IndexMetric, version: str, url: str) -> None:
        if not version.isalnum():
            raise ValueError(f"version {version!r} cannot be part of a table name")
        if vectors.shape[1] > WIDEST:
            message = f"index pgvector takes at most {WIDEST:,} components, the latents have {vectors.shape[1]:,}"
            raise ConfigError(message)
        self._engine = connect(url)
        if self._engine.dialect.name != "postgresql":
            message = "index pgvector is kept in the event store; give `store=postgresql://USER:PASSWORD@HOST/NAME`"
            raise ConfigError(message)
        self._table, (self._operators, self._operator) = f"latents_{version}", OPERATORS[metric]
        with store_errors(), self._engine.begin() as connection:
            self._fill(connection, vectors)

    def _fill(self, connection: sa.Connection, vectors: np.ndarray) -> None:
        """Create the table unless it exists; a lock makes other workers wait."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        try:
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
        except (sa.exc.NotSupportedError, sa.exc.ProgrammingError) as error:
            message = "index pgvector: this PostgreSQL has no pgvector; install it or choose another index"
            raise ConfigError(message) from error
        if sa.inspect(connection).has_table(self._table):
            return
        connection.exec_driver_sql(f"CREATE TABLE {self._table} (number integer, latent vector({vectors.shape[1]}))")
        rows = [{"number": number, "latent": _literal(vector)} for number, vector in enumerate(vectors)]
        insert = sa.text(f"INSERT INTO {self._table} VALUES (:number, CAST(:latent AS vector))")  # noqa: S608 - a checked name
        connection.execute(insert, rows)
        connection.exec_driver_sql(f"CREATE INDEX ON {self._table} USING hnsw (latent {self._operators})")

    def nearest(self, queries: np.ndarray, count: int) -> np.ndarray:
        """See `VectorIndex.nearest`; finds at most `MOST` neighbours."""
        wanted = min(count, MOST)
        order = f"latent {self._operator} CAST(:query AS vector)"
        search = sa.text(f"SELECT number FROM {self._table} ORDER BY {order} LIMIT :count")  # noqa: S608 - a checked name
        found = np.full((len(queries), count), -1, np.int64)
        with store_errors(), self._engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL hnsw.ef_search = {min(MOST, max(100, 2 * wanted))}")
            for row, query in zip(found, queries, strict=True):
                numbers = connection.execute(search, {"query": _literal(query), "count": wanted}).scalars().all()
                row[: len(numbers)] = numbers
        return found

    def close(self) -> None:
        """See `VectorIndex.close`."""
        self._engine.dispose()


def _literal(vector: np.ndarray) -> str:
    return "[" + ",".join(f"{value:.7g}" for value in vector.tolist()) + "]"
