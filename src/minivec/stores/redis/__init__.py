"""Redis with RediSearch: ``redis://HOST:PORT/INDEX?column=...``, or ``rediss://`` with TLS."""

from minivec.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
