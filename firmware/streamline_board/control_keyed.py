"""Keyed topics over a board's control socket.

Rule: keys and values travel in the body, whatever bytes they are; what may be much is answered in pieces. Must not know: sockets.
"""

import ujson

from streamline_core.control_records import split
from streamline_core.control_wire import number, text

from .control_records import write

KEYS_PER_PIECE = 32
PIECE_BYTES = 2048  # of values: a piece ends after so many


def get(connection, header, key):
    """found: whether the key has a value, which is the body; deleted: whether it had one."""
    key = bytes(key)
    keyed = connection.node.tables.take_up(text(header, "topic"), key)[0]
    value = keyed.get(key)
    deleted = value is None and len(keyed.versions(key)) > 0
    return iter([({"found": value is not None, "deleted": deleted}, value or b"")])


def set_(connection, header, body):
    """The body is the value, then the key of `key_size` bytes. Answered when it is durable."""
    node, topic, size = connection.node, text(header, "topic"), number(header, "key_size")
    value, key = split(body, [max(0, len(body) - size), size])
    node.tables.partition(topic, key)  # a topic without keys would take it as one record more
    return write(connection, header, node.produce, topic, value, key)


def delete(connection, header, key):
    """Answered when it is durable."""
    topic, key = text(header, "topic"), bytes(key)
    return write(connection, header, connection.node.delete, topic, key)


def keys(connection, header, prefix):
    """The keys that begin with the body: pieces with `sizes` of keys, which are the piece's body."""
    tables, topic = connection.node.tables, text(header, "topic")
    tables.take_up(topic)
    return _keys(tables.keys(topic, bytes(prefix)))


def _keys(found):
    for at in range(0, len(found), KEYS_PER_PIECE):
        part = found[at : at + KEYS_PER_PIECE]
        yield {"more": True, "sizes": [len(key) for key in part]}, b"".join(part)
    yield {}, b""


def conflicts(connection, header, body):
    """Of `topic`, else of all: pieces with `topic`, `sizes` of keys and how many `versions` of each stand."""
    tables = connection.node.tables
    topics = sorted(tables.topics) if header.get("topic") is None else [text(header, "topic")]
    for topic in topics:
        tables.take_up(topic)
    return _conflicts(tables, topics)


def _conflicts(tables, topics):
    for topic in topics:
        found = tables.conflicts(topic)
        for at in range(0, len(found), KEYS_PER_PIECE):
            part = found[at : at + KEYS_PER_PIECE]
            versions = [len(tables.partition(topic, key).table.dots(key)) for key in part]
            yield {"more": True, "topic": topic, "sizes": [len(key) for key in part], "versions": versions}, b"".join(part)
    yield {}, b""


def explain(connection, header, key):
    """The answer's body is the explanation, as JSON: the values in it may be more than a header holds."""
    from streamline_core.explain import explain

    key = bytes(key)
    keyed = connection.node.tables.take_up(text(header, "topic"), key)[0]
    return iter([({}, ujson.dumps(explain(keyed, key)).encode())])


def watch(connection, header, body):
    """Answered in pieces until the connection ends, beside other requests: an empty one when it has begun, then `sizes` of changed keys and
    of their values (-1: deleted), which are the piece's body by turns."""
    tables, topic = connection.node.tables, text(header, "topic")
    watching = tables.watch(topic)
    try:
        connection.begin(header, _watch(tables, topic, watching), lambda: tables.unwatch(topic, watching))
    except Exception:
        tables.unwatch(topic, watching)
        raise


def _watch(tables, topic, watching):
    yield {"more": True, "sizes": []}, b""
    while True:
        sizes, parts, size = [], [], 0
        for key in tables.changed(topic, watching):
            value = tables.take_up(topic, key)[0].get(key)
            sizes.append((len(key), -1 if value is None else len(value)))
            parts.append(key)
            parts.append(value or b"")
            size += len(value or b"")
            if size > PIECE_BYTES or len(sizes) >= KEYS_PER_PIECE:
                yield {"more": True, "sizes": sizes}, b"".join(parts)
                sizes, parts, size = [], [], 0
        if sizes:
            yield {"more": True, "sizes": sizes}, b"".join(parts)
        else:
            yield None


OPS = {
    "get": get, "set": set_, "delete": delete, "keys": keys, "conflicts": conflicts, "explain": explain, "watch": watch,
}  # fmt: skip
