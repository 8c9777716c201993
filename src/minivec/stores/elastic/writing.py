"""How an index is made, its documents are written in bulk, and it is found by an alias."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from minivec.stores.base import Block
from minivec.stores.blocks import first_key
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.elastic import mapping
from minivec.stores.elastic.rows import documents_of, put_into
from minivec.stores.elastic.talk import reason
from minivec.stores.errors import Refused, StoreError
from minivec.stores.requests import BUSY, PAUSES
from minivec.stores.trees import dumped, put_in

TRIES = 3  # how often the server writes a field anew where another one writes the same document


class ElasticWriting:
    """The part of the store that is a destination."""

    _routed: bool | None

    def _target(self: Any) -> str | None:
        name = self._info()["name"]
        return None if name == self.name else name

    def _how(self: Any) -> str:
        return f'POST /_aliases {{"actions": [{{"add": {{"index": "{self.name}", "alias": "..."}}}}]}}'

    def _point(self: Any, alias: str, collection: str) -> None:
        """In one step, and with the filter and routing that the alias has."""
        told = self._ask("GET", "_alias", alias)
        actions = [{"remove": {"index": index, "alias": alias}} for index in told if index != collection]
        kept: dict[str, Any] = next((info["aliases"][alias] for info in told.values()), {})
        actions.append({"add": {"index": collection, "alias": alias, **kept}})
        self._ask("POST", "_aliases", body={"actions": actions})
        self._known.clear()

    def _in_place(self: Any, source: Any) -> bool:
        return self._exists(self.name) and self.place() == source.place()

    def _plan(self: Any, source: Any, checkpoint: Checkpoint) -> Checkpoint:
        in_place = self._in_place(source)
        if self.name != self.name.lower():
            raise Refused(f"{self}: the name of an index has no capital letters, got {self.name!r}")
        if not in_place and self._exists(self.name) and self._noted() is None:
            raise Refused(f"{self}: it exists, and is not {source}'s own index; name a new one")
        name = self._new_column(source)
        if not all(name.split(".")):
            raise Refused(f"{self}: the name of a field has no empty parts, got {name!r}")
        return checkpoint.but(new_column=name, in_place=in_place)

    def _fits(self: Any, source: Any, width: int, length: float) -> None:
        """Refused where the new vectors are too wide, or of a length that their field does not take."""
        if width > self.field.most:
            raise Refused(f"{self}: vectors have at most {self.field.most:,} numbers there, got {width:,}")
        like = self._like(source)
        unit = like is not None and like._described[1].get("similarity") == "dot_product"
        if unit and abs(length**2 - 1) > mapping.UNIT:
            raise Refused(
                f"{self}: the similarity dot_product takes only vectors of length 1, and they have {length:.3g}; "
                "name --lengths unit"
            )

    def create(self: Any, source: Any, width: int, checkpoint: Checkpoint) -> Checkpoint:
        """Look whether the vectors fit, and then make the index or the field."""
        self._fits(source, width, checkpoint.length)
        made: Checkpoint = super().create(source, width, checkpoint)  # type: ignore[misc]
        return made

    def rehearse(self: Any, source: Any, width: int, block: Block) -> list[str]:
        """Check the names and whether the vectors fit. Nothing is tried."""
        lengths = np.linalg.norm(block.vectors, axis=1)
        self._fits(source, width, float(max(lengths, default=1.0)) or 1.0)
        told: list[str] = super().rehearse(source, width, block)  # type: ignore[misc]
        return told

    def _like(self: Any, source: Any) -> Any:
        """The source, if it is an index of the same engine, or None."""
        return source if isinstance(source, ElasticWriting) and getattr(source, "scheme", "") == self.scheme else None

    def _make(self: Any, source: Any, width: int, state: Checkpoint) -> Checkpoint:
        name, like = str(state.new_column), self._like(source)
        if state.in_place:
            field = mapping.like(like._described[1], self.field, width)
            if not self._has(name):
                self._ask("PUT", self.name, "_mapping", body=mapping.with_field({}, None, name, field))
            self._known.clear()
            return state
        if self._exists(self.name):  # left empty by a run that was killed while it made it
            self._ask("DELETE", self.name)
        if like is not None:
            info, (column, field) = like._info(), like._described
            field = mapping.like(field, self.field, width)
            made = mapping.with_field(info["mappings"], column, name, field)
            settings = mapping.settings(info["settings"])
        else:
            arrow, old = getattr(source, "arrow_schema", lambda: ())(), source.schema()
            field = {**self.field.plain, self.field.width: width}
            made = mapping.with_field(mapping.of_arrow(arrow, old.key, old.column), None, name, field)
            settings = self.field.settings
            state = state.keep(numbers=not isinstance(first_key(source), str))
        self._create(self.name, {"mappings": made, "settings": settings})
        self._known.clear()
        return state

    def _create(self: Any, index: str, body: dict[str, Any]) -> None:
        try:
            self._ask("PUT", index, body=body)
        except StoreError:
            if not self._exists(index):  # or the answer to a first request was lost
                raise

    def losses(self: Any, source: Any) -> list[str]:
        """What a new index has otherwise."""
        like = self._like(source)
        return [] if like is None or self._in_place(source) else mapping.losses(like._info(), like._described[0])

    @staticmethod
    def _too_large(error: Exception) -> bool:
        return "the server answers 413" in str(error) or "TransportError(413" in str(error)

    def _send(self: Any, block: Block, state: Checkpoint) -> None:
        name, missing = str(state.new_column), set(block.missing)
        self.refuse(
            "other lengths than 1, which the similarity dot_product takes alone, ",
            mapping.not_unit(mapping.inside(self._info()["mappings"], name), block.vectors), block.keys,
        )  # fmt: skip
        values = [None if i in missing else x for i, x in enumerate(block.vectors.tolist())]
        rows = self._fields(block.keys, values, name) if state.in_place else self._whole(block, values, state)
        self._bulk(rows, state.in_place)

    def _fields(self: Any, keys: Sequence[Any], values: list[Any], name: str) -> list[bytes]:
        """The lines that set one field alone, of the newest document: the server merges it in."""
        there, rows = self._hits(keys, False), []
        for key, value in zip(map(str, keys), values, strict=True):
            if key in there:  # a row that has gone meanwhile must not come back as a vector alone
                tree: dict[str, Any] = {}
                put_in(tree, name.split("."), value)
                rows.append(_lines({"update": _where(there[key]) | {"retry_on_conflict": TRIES}}, {"doc": tree}))
        return rows

    def _whole(self: Any, block: Block, values: list[Any], state: Checkpoint) -> list[bytes]:
        """The lines that write documents anew."""
        name = str(state.new_column)
        documents, routes = documents_of(block, (state.column, name))
        self._remove_misplaced(block.keys, routes)
        rows = []
        for i, (key, tree, value) in enumerate(zip(block.keys, documents, values, strict=True)):
            if value is not None:
                put_into(tree, name, value)
            try:
                rows.append(_lines({"index": _where({"_id": str(key), "_routing": routes[i]})}, tree))
            except ValueError:
                self.refuse("NaN or infinity, which JSON has not,", [0], [key])
        return rows

    def _bulk(self: Any, rows: list[bytes], may_be_gone: bool = False) -> None:
        """Send rows, each the lines of one action, in requests of a size that the server takes."""

        def post(part: slice) -> None:
            left = rows[part]
            for pause in (*PAUSES, None):
                left, busy = self._post(left, may_be_gone)
                if not left:
                    return
                if pause is None:
                    raise StoreError(f"{self}: the server is too busy for {len(left):,} rows: {busy}")
                time.sleep(pause)

        self._written = True
        self._requests.send(list(map(len, rows)), post)

    def _post(self: Any, rows: list[bytes], may_be_gone: bool) -> tuple[list[bytes], str]:
        """Send these rows; those that the server was too busy for, and what it says of the last of them."""
        told = self._ask("POST", self.name, "_bulk", body=b"".join(rows), pipeline="_none")
        again, busy = [], ""
        for row, item in zip(rows, told["items"] if told["errors"] else (), strict=False):
            ((action, result),) = item.items()
            if result["status"] in BUSY:
                again.append(row)
                busy = reason(result.get("error"))
            elif result["status"] >= 300 and not (result["status"] == 404 and (may_be_gone or action == "delete")):
                what = reason(result.get("error"))
                raise StoreError(self.address.hide(f"{self}: row {result['_id']!r} cannot be written: {what}"))
        return again, busy

    def _remove_misplaced(self: Any, keys: Sequence[Any], routes: list[str | None]) -> None:
        """Delete the rows that are there with another routing: the server would keep both."""
        if self._routed is None:
            there = self._found(self.name, {"query": {"exists": {"field": "_routing"}}, "size": 1, "_source": False})
            self._routed = bool(there["hits"]["hits"])
        if self._routed or any(routes):
            self._routed, there = True, self._hits(keys, False)
            wrong = [
                key
                for key, route in zip(keys, routes, strict=True)
                if str(key) in there and there[str(key)].get("_routing") != route
            ]
            self._bulk([_delete(there[str(key)]) for key in wrong])

    def _delete(self: Any, keys: Sequence[Any]) -> None:
        """Each with the routing that it has."""
        self._bulk([_delete(hit) for hit in self._hits(keys, False).values()])

    def finish(self: Any) -> None:
        """Let searches see all rows."""
        self._fresh(self.name)


def _lines(action: dict[str, Any], document: dict[str, Any]) -> bytes:
    return f"{dumped(action)}\n{dumped(document)}\n".encode()


def _where(hit: dict[str, Any]) -> dict[str, Any]:
    return {"_id": hit["_id"]} | ({"routing": hit["_routing"]} if hit.get("_routing") else {})


def _delete(hit: dict[str, Any]) -> bytes:
    return f"{dumped({'delete': _where(hit)})}\n".encode()
