"""`streamline-cli edge get`, `set`, `delete`, `keys`, `watch` and `conflicts`: the tables that keyed topics are.

Rule: keys and values are bytes: they are taken and printed as they are, and only JSON shows them otherwise.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from streamline_core.errors import UsageError

from .commands import DEGRADED, WELL, Arguments, Commands, client, show

if TYPE_CHECKING:
    from .control_wire import Header


def add(commands: Commands) -> None:
    get = commands.add("get", _get, "print the value of a key; exit code 1 if it has none")
    put = commands.add("set", _set, "write a key")
    delete = commands.add("delete", _delete, "delete a key")
    for command in (get, put, delete):
        command.add_argument("topic", metavar="TOPIC")
        command.add_argument("key", metavar="KEY")
    put.add_argument("value", metavar="VALUE", help="text, or - for standard input, byte for byte")
    keys = commands.add("keys", _keys, "the keys that have a value, one a line")
    keys.add_argument("topic", metavar="TOPIC")
    keys.add_argument("--prefix", default="", metavar="P", help="only those that begin with P")
    watch = commands.add("watch", _watch, "print each key that changes: the key, a tab, its value; a deleted one alone")
    watch.add_argument("topic", metavar="TOPIC")
    conflicts = commands.add("conflicts", _conflicts, "the keys of which more than one version stands; or why a key shows what it shows")
    conflicts.usage = "streamline-cli edge conflicts [-h] [--data-dir D] [--config F] [--json] [TOPIC | explain TOPIC KEY]"
    conflicts.add_argument("words", nargs="*", metavar="TOPIC | explain TOPIC KEY")


def _get(arguments: Arguments) -> int:
    from streamline_core.explain import json_value

    key = os.fsencode(arguments.key)
    answer, value = client(arguments).ask("get", key, topic=arguments.topic)
    if not answer["found"]:
        what = "is deleted" if answer["deleted"] else "was never written"
        print(f"streamline-cli: key {arguments.key!r} of topic {arguments.topic} {what}", file=sys.stderr)
        return DEGRADED
    if arguments.json:
        show(arguments, {"topic": arguments.topic, "key": json_value(key), "value": json_value(value)}, print)
    else:
        _out(value, b"\n")
    return WELL


def _set(arguments: Arguments) -> int:
    from .control_wire import BODY_BYTES_MAX

    key, value = os.fsencode(arguments.key), os.fsencode(arguments.value)
    if arguments.value == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed; give it the value")
        value = sys.stdin.buffer.read(BODY_BYTES_MAX)
    return _written(arguments, client(arguments).ask("set", value + key, topic=arguments.topic, key_size=len(key)))


def _delete(arguments: Arguments) -> int:
    return _written(arguments, client(arguments).ask("delete", os.fsencode(arguments.key), topic=arguments.topic))


def _written(arguments: Arguments, answer: tuple[Header, bytes]) -> int:
    from streamline_core.explain import json_value

    said = {"topic": arguments.topic, "key": json_value(os.fsencode(arguments.key)), "offset": answer[0]["offset"]}
    show(arguments, said, lambda _: None)
    return WELL


def _keys(arguments: Arguments) -> int:
    from streamline_core.explain import json_value

    from .control_wire import split

    rows = []
    for answer, body in client(arguments).stream("keys", os.fsencode(arguments.prefix), topic=arguments.topic):
        found = split(body, answer["sizes"])
        if arguments.json:
            rows += list(map(json_value, found))
        else:
            _out(b"".join([key + b"\n" for key in found]))
    if arguments.json:
        show(arguments, rows, print)
    return WELL


def _watch(arguments: Arguments) -> int:
    import ujson

    from streamline_core.explain import json_value

    from .control_wire import split

    connection = client(arguments)
    connection.socket.settimeout(None)
    for answer, body in connection.stream("watch", topic=arguments.topic):
        parts = split(body, [max(0, size) for sizes in answer["sizes"] for size in sizes])
        for i, (_, value_size) in enumerate(answer["sizes"]):
            key, value = parts[2 * i], parts[2 * i + 1] if value_size >= 0 else None
            if arguments.json:
                line = {"key": json_value(key), "value": json_value(value), "deleted": value is None}
                _out(ujson.dumps(line, ensure_ascii=False, escape_forward_slashes=False).encode(), b"\n")
            else:
                _out(key, b"" if value is None else b"\t" + value, b"\n")
        sys.stdout.buffer.flush()
    return WELL


def _conflicts(arguments: Arguments) -> int:
    from streamline_core.explain import json_value

    from . import tables
    from .control_wire import split

    words = arguments.words
    if len(words) == 3 and words[0] == "explain":
        return _explain(arguments, words[1], words[2])
    if len(words) > 1 or words == ["explain"]:
        raise UsageError("conflicts takes a topic, or: explain TOPIC KEY")
    rows = []
    for answer, body in client(arguments).stream("conflicts", topic=words[0] if words else None):
        keys = split(body, answer["sizes"])
        rows += [{"topic": answer["topic"], "key": json_value(key), "versions": n} for key, n in zip(keys, answer["versions"], strict=True)]
    show(arguments, rows, tables.conflicts)
    return WELL


def _explain(arguments: Arguments, topic: str, key: str) -> int:
    import ujson

    from . import tables

    _, body = client(arguments).ask("explain", os.fsencode(key), topic=topic)
    explanation = ujson.loads(body)
    if not explanation["versions"]:
        print(f"streamline-cli: key {key!r} of topic {topic} was never written", file=sys.stderr)
        return DEGRADED
    show(arguments, explanation, tables.explanation)
    return WELL


def _out(*parts: bytes) -> None:
    sys.stdout.buffer.write(b"".join(parts))
