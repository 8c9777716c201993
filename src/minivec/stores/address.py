"""How a store is addressed: a URL taken apart, and shown without its secrets."""

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from minivec.stores.errors import Refused

SECRETS = ("password", "api_key", "token", "sslpassword")  # options of a URL that are never shown
IN_ENVIRONMENT = (  # secrets, too
    *("PGPASSWORD", "QDRANT_API_KEY", "CHROMA_CLIENT_AUTH_CREDENTIALS", "WEAVIATE_API_KEY", "PINECONE_API_KEY"),
    *("ELASTIC_API_KEY", "OPENSEARCH_PASSWORD"),
)
IN_FOLDERS = {  # of databases, by scheme
    "lance": "*.lance",
    "chroma": "chroma.sqlite3",
    "qdrant": "meta.json",
    "milvus": "collections",
}


class Address:
    """A store's URL taken apart. Only ``str`` of it is ever shown: it has neither user nor password."""

    def __init__(self, url: str):
        if re.match(r"\w+:///?[A-Za-z]:\\", url):  # a path of Windows
            url = url.replace("\\", "/")
        try:
            parts = urlsplit(url)
            self.port = parts.port
        except ValueError:  # which quotes what it refuses
            raise Refused(redact(f"{url}: not a URL")) from None
        self.scheme = parts.scheme
        self.user = unquote(parts.username) if parts.username else None
        self.password = unquote(parts.password) if parts.password else None
        self.host = parts.hostname
        self.options = dict(parse_qsl(parts.query, keep_blank_values=True))
        place = unquote(parts.netloc.rpartition("@")[2] + parts.path)  # of what lies in the file system
        self.place = re.sub(r"^/(?=[A-Za-z]:/)", "", place)
        self.path = unquote(parts.path).strip("/")
        self._shown = self._without_secrets(parts)

    def _without_secrets(self, parts: SplitResult) -> str:
        options = {name: value for name, value in self.options.items() if name not in SECRETS}
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        return f"{shown}?{urlencode(options, safe='/,')}" if options else shown

    def __str__(self) -> str:
        return self._shown

    def split(self) -> tuple[Path, str]:
        """A folder of the file system and, behind the last slash, the name of a table or collection in it."""
        folder, _, name = self.place.rstrip("/").rpartition("/")
        if not folder or not name:
            raise Refused(f"{self}: expected {self.scheme}://FOLDER/NAME")
        place = Path(folder).expanduser()
        known = IN_FOLDERS.get(self.scheme)
        if known and (folder == "." or any((place / name).glob(known))):
            what = "a folder without a table or collection, it seems"
            raise Refused(
                f"{self}: {what}; expected {self.scheme}://FOLDER/NAME, with the current folder's full path for FOLDER"
            )
        return place, name

    @property
    def local(self) -> bool:
        """Whether a path of the file system, not a host, follows the scheme."""
        return re.match(r"[/.~]|[A-Za-z]:/", self.place) is not None

    def take(self, *known: str) -> list[str | None]:
        """The values of these options; ValueError for any other that is in the URL."""
        unknown = sorted(set(self.options) - set(known))
        if unknown:
            raise Refused(f"{self}: unknown option {unknown[0]!r}; known: {', '.join(known)}")
        return [self.options.get(name) for name in known]

    def refuse_filter(self, why: str) -> None:
        """Refused where a filter is named (where=), which a kind of store cannot have: ``why``."""
        if "where" in self.options:
            raise Refused(f"{self}: there is no where= here: {why}")

    def hide(self, text: str) -> str:
        """``text`` on one line, with no credential of this URL or of the environment in it."""
        secrets = [self.password, *(self.options.get(name) for name in SECRETS)]
        secrets += [os.environ.get(name) for name in IN_ENVIRONMENT]
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return redact(" ".join(text.split()))


def says_yes(option: str | None) -> bool:
    """Whether the value of an option that is off by default turns it on: true, 1 or yes."""
    return (option or "").lower() in ("true", "1", "yes")


def redact(text: str) -> str:
    """``text`` without what looks like the credentials of a URL."""
    text = re.sub(r"(\w\w:/+)\S*@", r"\1***@", text)  # one letter is a drive of Windows
    return re.sub(rf"\b({'|'.join(SECRETS)})=[^&\s]+", r"\1=***", text)
