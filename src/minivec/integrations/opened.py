"""Our stores over what the vector stores of frameworks hold: their own client, or the address of their database."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from minivec.map import LinearMap
from minivec.migrate import migrate
from minivec.stores import Store, open_store
from minivec.stores.requests import Patient

Mover = Callable[..., Any]


class Lent(Patient):
    """A client that somebody else closes."""

    def close(self) -> None:
        """Leave it open."""


def mover_of(store: Any, movers: Mapping[str, Mover]) -> Mover:
    """The one of the ``movers``, by package and class, for the class of ``store``; TypeError that names those known."""
    for kind in type(store).__mro__:
        if found := movers.get(f"{kind.__module__.rpartition('.')[0]}.{kind.__name__}"):
            return found
    known = ", ".join(sorted(movers))
    raise TypeError(f"no migration of a {type(store).__module__}.{type(store).__name__}; of these: {known}")


def moved(source: Store, destination: Store, bridge: Any, options: dict[str, Any]) -> LinearMap:
    """Migrate ``source`` to ``destination`` with the ``options`` of ``migrate``; the map."""
    migrate(source, destination, bridge, **options)
    return LinearMap.of(bridge)


def chroma(client: Any, name: str) -> Store:
    """A collection of a client of chromadb, of any kind."""
    import chromadb

    settings = client.get_settings()
    if settings.is_persistent:
        place = quote(str(Path(settings.persist_directory).resolve()))
    else:
        host = settings.chroma_server_host or "memory"
        place = f"{urlsplit(host).hostname or host}:{settings.chroma_server_http_port or 8000}"
    store = open_store(f"chroma://{place}/{quote(name)}")
    vars(store)["_client"] = Lent(client, chromadb.Collection)
    return store


def qdrant(client: Any, name: str, vector: str) -> Store:
    """A collection of a client of qdrant-client, of any kind; ``vector`` is the name of the vector, or nothing."""
    inner = client._client  # of a server or of a folder
    if getattr(inner, "persistent", False):
        place = quote(str(Path(inner.location).resolve()))
    else:
        place = f"{getattr(inner, '_host', 'memory')}:{getattr(inner, '_port', None) or 6333}"
    options = f"?{urlencode({'column': vector})}" if vector else ""
    store = open_store(f"qdrant://{place}/{quote(name)}{options}")
    vars(store)["_client"] = Lent(client)
    return store


def postgres(url: Any, table: str, **options: str) -> Store:
    """A table of the database at a URL of SQLAlchemy; the ``options`` are those of our address."""
    address = url.set(drivername="postgresql").update_query_dict({"table": table, **options})
    return open_store(address.render_as_string(hide_password=False))


def lance(folder: str, table: str, column: str) -> Store:
    """A table of a LanceDB folder."""
    return open_store(f"lance://{quote(str(Path(folder).resolve()))}/{quote(table)}?{urlencode({'column': column})}")
