"""The control socket's operations on keyed topics.

Rule: keys and values travel in the body, whatever bytes they are; what may be much is answered in pieces. Knows the connection only as
what carries its answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import ujson

from . import control_wire
from .control_wire import Header, text

if TYPE_CHECKING:
    from .control_server import _Connection as Connection

KEYS_PER_PIECE = 1000
PIECE_BYTES = 1 << 20  # of values: a piece ends after so many


async def get(connection: Connection, header: Header, key: bytes) -> None:
    """found: whether the key has a value, which is the body; deleted: whether it had one."""
    topic, agent = text(header, "topic"), connection.agent
    value = agent.get(topic, key)
    deleted = value is None and bool(agent.versions(topic, key))
    connection.answer({"id": header.get("id"), "ok": True, "found": value is not None, "deleted": deleted}, value or b"")


async def set_(connection: Connection, header: Header, body: bytes) -> Header:
    """The body is the value, then the key of `key_size` bytes. Answered when it is durable."""
    topic, size = text(header, "topic"), control_wire.number(header, "key_size")
    value, key = control_wire.split(body, [max(0, len(body) - size), size])
    connection.agent.node.tables.partition(topic, key)  # a topic without keys would take it as one record more
    return {"offset": await connection.agent.produce(topic, value, key)}


async def delete(connection: Connection, header: Header, key: bytes) -> Header:
    """Answered when it is durable."""
    return {"offset": await connection.agent.delete(text(header, "topic"), key)}


async def keys(connection: Connection, header: Header, prefix: bytes) -> Header:
    """The keys that begin with the body: pieces with `sizes` of keys, which are the piece's body."""
    for part in _parts(connection.agent.keys(text(header, "topic"), prefix)):
        await connection.answer_piece({"id": header.get("id"), "sizes": list(map(len, part))}, b"".join(part))
    return {}


async def conflicts(connection: Connection, header: Header, body: bytes) -> Header:
    """Of `topic`, else of all: pieces with `topic`, `sizes` of keys and how many `versions` of each stand."""
    agent = connection.agent
    topic = text(header, "topic") if header.get("topic") is not None else None
    by_topic: dict[str, list[bytes]] = {}
    for name, key in agent.conflicts(topic):
        by_topic.setdefault(name, []).append(key)
    for name, found in by_topic.items():
        for part in _parts(found):
            versions = [len(agent.node.tables.partition(name, key).table.dots(key)) for key in part]
            piece = {"id": header.get("id"), "topic": name, "sizes": list(map(len, part)), "versions": versions}
            await connection.answer_piece(piece, b"".join(part))
    return {}


async def explain(connection: Connection, header: Header, key: bytes) -> None:
    """The answer's body is the explanation, as JSON: the values in it may be more than a header holds."""
    explanation = connection.agent.explain(text(header, "topic"), key)
    body = ujson.dumps(explanation, ensure_ascii=False, escape_forward_slashes=False).encode()
    connection.answer({"id": header.get("id"), "ok": True}, body)


async def watch(connection: Connection, header: Header, body: bytes) -> None:
    """Answered in pieces until the connection ends, beside other requests: an empty one when it has begun, then `sizes` of changed keys and
    of their values (-1: deleted), which are the piece's body by turns."""
    connection.begin(header, _watch(connection, header.get("id"), text(header, "topic")))


async def _watch(connection: Connection, id: object, topic: str) -> None:
    async for changed in connection.agent.changes(topic):
        sizes: list[tuple[int, int]] = []
        parts: list[bytes] = []
        gathered = 0
        for key in changed:
            value = connection.agent.get(topic, key)
            sizes.append((len(key), -1 if value is None else len(value)))
            parts += [key, value or b""]
            gathered += len(value or b"")
            if gathered > PIECE_BYTES or len(sizes) >= KEYS_PER_PIECE:
                await connection.answer_piece({"id": id, "sizes": sizes}, b"".join(parts))
                sizes, parts, gathered = [], [], 0
        if sizes or not changed:
            await connection.answer_piece({"id": id, "sizes": sizes}, b"".join(parts))


def _parts(found: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(found), KEYS_PER_PIECE):
        yield found[at : at + KEYS_PER_PIECE]


OPS: dict[str, Callable[[Connection, Header, bytes], Awaitable[Header | None]]] = {
    "get": get,
    "set": set_,
    "delete": delete,
    "keys": keys,
    "conflicts": conflicts,
    "explain": explain,
    "watch": watch,
}
