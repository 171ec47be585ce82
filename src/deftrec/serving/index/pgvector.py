"""HNSW in the PostgreSQL that keeps the events: every worker shares one index, which outlives them."""

import numpy as np
import sqlalchemy as sa

from deftrec.errors import ConfigError
from deftrec.serving.index.base import IndexMetric, VectorIndex
from deftrec.serving.store.sql import connect, store_errors

WIDEST = 2000
"""Components that pgvector's HNSW takes."""
MOST = 1000
"""Its largest breadth of a search, and so the most that it finds."""
LOCK = 0x0DEF8
OPERATORS: dict[IndexMetric, tuple[str, str]] = {"inner": ("vector_ip_ops", "<#>"), "l2": ("vector_l2_ops", "<->")}


class PgvectorIndex(VectorIndex):
    """A table of vectors, made once for every version of a model.

    Args:
        vectors: `[I, D]` float32
        metric: what is near.
        version: of the model, letters and digits.
        url: of the store.

    Raises:
        ConfigError: the store is no PostgreSQL with pgvector, or the vectors are too wide.
        StoreUnavailableError: it does not answer.
    """

    def __init__(self, vectors: np.ndarray, metric: IndexMetric, version: str, url: str) -> None:
        if not version.isalnum():
            raise ValueError(f"version {version!r} is no part of a table's name")
        if vectors.shape[1] > WIDEST:
            raise ConfigError(f"--index pgvector takes {WIDEST:,} components, the latents have {vectors.shape[1]:,}")
        self._engine = connect(url)
        if self._engine.dialect.name != "postgresql":
            raise ConfigError("--index pgvector lives in the store: give --store postgresql://USER:PASSWORD@HOST/NAME")
        self._table, (self._operators, self._operator) = f"latents_{version}", OPERATORS[metric]
        with store_errors(), self._engine.begin() as connection:
            self._fill(connection, vectors)

    def _fill(self, connection: sa.Connection, vectors: np.ndarray) -> None:
        """Make the table, in the order in which workers come, unless it is there."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        try:
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
        except (sa.exc.NotSupportedError, sa.exc.ProgrammingError) as error:
            raise ConfigError(
                "--index pgvector: this PostgreSQL has no pgvector; install it, or leave out --index"
            ) from error
        if sa.inspect(connection).has_table(self._table):
            return
        connection.exec_driver_sql(f"CREATE TABLE {self._table} (number integer, latent vector({vectors.shape[1]}))")
        rows = [{"number": number, "latent": _literal(vector)} for number, vector in enumerate(vectors)]
        insert = sa.text(f"INSERT INTO {self._table} VALUES (:number, CAST(:latent AS vector))")  # noqa: S608 - a checked name
        connection.execute(insert, rows)
        connection.exec_driver_sql(f"CREATE INDEX ON {self._table} USING hnsw (latent {self._operators})")

    def nearest(self, queries: np.ndarray, count: int) -> np.ndarray:
        """See `VectorIndex.nearest`; it finds `MOST` at most."""
        wanted = min(count, MOST)
        search = sa.text(
            f"SELECT number FROM {self._table} ORDER BY latent {self._operator} CAST(:query AS vector) LIMIT :count"  # noqa: S608
        )
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
