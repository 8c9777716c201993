"""PostgreSQL with pgvector: ``postgresql://HOST/DATABASE?table=[SCHEMA.]TABLE&column=...&key=...``.

Rows are read with a server-side cursor and written with COPY, both binary, so that what is beside the vectors passes
through byte for byte, whatever its types are.
"""

from minivec.stores.postgres.swapping_back import SwappingStore as PostgresStore

__all__ = ["PostgresStore"]
