"""`streamline-cli edge …`: what a person or a script asks of a running agent.

Rule: results go to standard output, everything else is one line on standard error that says what to do. Exit codes: 0
well, 1 degraded, refused or not there, 2 wrong usage, 3 no agent. Starts fast: what only some commands need is imported by them.
Knows the agent only through its control socket.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from streamline_core.errors import ProtocolError, StreamlineError, UsageError

from .control_client import AgentError, ControlClient, NoAgent
from .control_wire import BODY_BYTES_MAX, split

WELL, DEGRADED, USAGE, NO_AGENT, INTERRUPTED = 0, 1, 2, 3, 130
DEFAULT_DATA_DIR = "streamline-data"

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """The console script. Returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WELL
    except NoAgent as e:
        return _fail(e, NO_AGENT)
    except AgentError as e:
        return _fail(e, USAGE if e.kind in ("usage", "protocol") else DEGRADED)
    except UsageError as e:
        return _fail(e, USAGE)
    except (ProtocolError, StreamlineError) as e:
        return _fail(e, DEGRADED)


def _fail(error: Exception, code: int) -> int:
    print(f"streamline-cli: {error}", file=sys.stderr)
    return code


# What may be said.


def _parser() -> argparse.ArgumentParser:
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--data-dir", metavar="D", default=argparse.SUPPRESS, help="data directory of the agent")
    where.add_argument("--config", metavar="F", default=argparse.SUPPRESS, help="configuration of the agent")
    out = argparse.ArgumentParser(add_help=False, parents=[where])
    out.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser = argparse.ArgumentParser(prog="streamline-cli", description="Ask a running Streamline agent.")
    tools = parser.add_subparsers(required=True, metavar="edge")
    edge = tools.add_parser("edge", parents=[where], help="an edge agent on this machine")
    commands = edge.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Arguments], int], help: str, plain: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[where if plain else out], help=help, description=help)
        command.set_defaults(run=run)
        return command

    produce = add("produce", _produce, "store each line of standard input as a record", plain=True)
    produce.add_argument("topic", metavar="TOPIC")
    keys = produce.add_mutually_exclusive_group()
    keys.add_argument("--key", metavar="K", help="the key of all records")
    keys.add_argument("--key-field", metavar="F", help="the lines are JSON objects, this field is the key")
    produce.add_argument("--producer", metavar="NAME", help="run again with the same name and input, it stores only what is missing")
    consume = add("consume", _consume, "print the records of a topic")
    consume.add_argument("topic", metavar="TOPIC")
    consume.add_argument("--partition", type=int, default=0, metavar="P")
    start = consume.add_mutually_exclusive_group()
    start.add_argument("--from", type=int, default=0, metavar="N", dest="start", help="from this offset on")
    start.add_argument("--time", metavar="T", help="from this time on: ms since 1970, or ISO 8601")
    consume.add_argument("--follow", action="store_true", help="wait for more")
    consume.add_argument("--feed", action="store_true", help="what the cloud sent, where the topic flows both ways")
    get = add("get", _get, "print the value of a key; exit code 1 if it has none")
    put = add("set", _set, "write a key", plain=True)
    delete = add("delete", _delete, "delete a key", plain=True)
    for command in (get, put, delete):
        command.add_argument("topic", metavar="TOPIC")
        command.add_argument("key", metavar="KEY")
    put.add_argument("value", metavar="VALUE", help="text, or - for standard input, byte for byte")
    listing = add("keys", _keys, "the keys that have a value, one a line")
    listing.add_argument("topic", metavar="TOPIC")
    listing.add_argument("--prefix", default="", metavar="P", help="only those that begin with P")
    watch = add("watch", _watch, "print each key that changes: the key, a tab, its value; a deleted one alone")
    watch.add_argument("topic", metavar="TOPIC")
    conflicts = add("conflicts", _conflicts, "the keys of which more than one version stands; or why a key shows what it shows")
    conflicts.usage = "streamline-cli edge conflicts [-h] [--data-dir D] [--config F] [--json] [TOPIC | explain TOPIC KEY]"
    conflicts.add_argument("words", nargs="*", metavar="TOPIC | explain TOPIC KEY")
    add("status", _status, "the node, its connection and its streams")
    add("ledger", _ledger, "produced = delivered + pending + lost, for each stream")
    add("topics", _topics, "the configured topics")
    add("health", _health, "exit code 0 if all is well, 1 and what is wrong if not")
    sync = add("sync", _sync, "look at synchronisation, or steer it")
    sync.add_argument("action", choices=("status", "now", "pause", "resume"))
    return parser


def _data_dir(arguments: Arguments) -> str:
    """Where the agent's socket is: --data-dir, or what the configuration says."""
    given: str | None = getattr(arguments, "data_dir", None)
    config: str | None = getattr(arguments, "config", None)
    if given is None and (config is not None or os.path.isfile("edge.yaml")):
        from . import config_file

        given = config_file.find(config).data_dir
    return os.path.abspath(os.path.expanduser(given or DEFAULT_DATA_DIR))


def _client(arguments: Arguments) -> ControlClient:
    return ControlClient(_data_dir(arguments))


# What is done.


def _produce(arguments: Arguments) -> int:
    from .line_producer import LineProducer

    data_dir = _data_dir(arguments)
    key = arguments.key.encode() if arguments.key is not None else None

    def note(text: str) -> None:
        print(f"streamline-cli: {text}", file=sys.stderr, flush=True)

    producer = LineProducer(lambda: ControlClient(data_dir), arguments.topic, arguments.producer, key, arguments.key_field, note)
    try:
        producer.run(sys.stdin.fileno())
    finally:
        print(
            f"{producer.lines} lines: {producer.stored} stored, {producer.repeats} repeats skipped",
            file=sys.stderr,
            flush=True,
        )
    return WELL


def _consume(arguments: Arguments) -> int:
    from . import record_lines

    client = _client(arguments)
    if arguments.follow:
        client.socket.settimeout(None)
    fields = {"topic": arguments.topic, "partition": arguments.partition, "from": arguments.start, "feed": arguments.feed}
    if arguments.time is not None:
        fields["time"] = record_lines.time_ms(arguments.time)
    out = sys.stdout.buffer
    make = record_lines.json_lines if arguments.json else record_lines.value_lines
    for answer, body in client.stream("consume", follow=arguments.follow, **fields):
        lines, gaps = make(answer["rows"], body)
        out.write(lines)
        out.flush()
        for gap in gaps:
            print(gap, file=sys.stderr)
    return WELL


def _get(arguments: Arguments) -> int:
    from .explain import json_value

    key = os.fsencode(arguments.key)
    answer, value = _client(arguments).ask("get", key, topic=arguments.topic)
    if not answer["found"]:
        what = "is deleted" if answer["deleted"] else "was never written"
        print(f"streamline-cli: key {arguments.key!r} of topic {arguments.topic} {what}", file=sys.stderr)
        return DEGRADED
    if arguments.json:
        _show(arguments, {"topic": arguments.topic, "key": json_value(key), "value": json_value(value)}, print)
    else:
        _out(value, b"\n")
    return WELL


def _set(arguments: Arguments) -> int:
    key, value = os.fsencode(arguments.key), os.fsencode(arguments.value)
    if arguments.value == "-":
        value = sys.stdin.buffer.read(BODY_BYTES_MAX)
    _client(arguments).ask("set", value + key, topic=arguments.topic, key_size=len(key))
    return WELL


def _delete(arguments: Arguments) -> int:
    _client(arguments).ask("delete", os.fsencode(arguments.key), topic=arguments.topic)
    return WELL


def _keys(arguments: Arguments) -> int:
    from .explain import json_value

    rows = []
    for answer, body in _client(arguments).stream("keys", os.fsencode(arguments.prefix), topic=arguments.topic):
        found = split(body, answer["sizes"])
        if arguments.json:
            rows += list(map(json_value, found))
        else:
            _out(b"".join([key + b"\n" for key in found]))
    if arguments.json:
        _show(arguments, rows, print)
    return WELL


def _watch(arguments: Arguments) -> int:
    import ujson

    from .explain import json_value

    client = _client(arguments)
    client.socket.settimeout(None)
    for answer, body in client.stream("watch", topic=arguments.topic):
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
    from . import tables
    from .explain import json_value

    words = arguments.words
    if len(words) == 3 and words[0] == "explain":
        return _explain(arguments, words[1], words[2])
    if len(words) > 1:
        raise UsageError("conflicts takes a topic, or: explain TOPIC KEY")
    rows = []
    for answer, body in _client(arguments).stream("conflicts", topic=words[0] if words else None):
        keys = split(body, answer["sizes"])
        rows += [{"topic": answer["topic"], "key": json_value(key), "versions": n} for key, n in zip(keys, answer["versions"], strict=True)]
    _show(arguments, rows, tables.conflicts)
    return WELL


def _explain(arguments: Arguments, topic: str, key: str) -> int:
    import ujson

    from . import tables

    _, body = _client(arguments).ask("explain", os.fsencode(key), topic=topic)
    explanation = ujson.loads(body)
    if not explanation["versions"]:
        print(f"streamline-cli: key {key!r} of topic {topic} was never written", file=sys.stderr)
        return DEGRADED
    _show(arguments, explanation, tables.explanation)
    return WELL


def _out(*parts: bytes) -> None:
    sys.stdout.buffer.write(b"".join(parts))


def _status(arguments: Arguments) -> int:
    from . import tables

    status = _client(arguments).request("status")["status"]
    _show(arguments, status, tables.status)
    return WELL


def _ledger(arguments: Arguments) -> int:
    from . import tables

    rows = _client(arguments).request("ledger")["ledger"]
    _show(arguments, rows, tables.ledger)
    return WELL


def _topics(arguments: Arguments) -> int:
    from . import tables

    rows = _client(arguments).request("topics")["topics"]
    _show(arguments, rows, tables.topics)
    return WELL


def _health(arguments: Arguments) -> int:
    from . import tables

    health = _client(arguments).request("health")["health"]
    _show(arguments, health, tables.health)
    return WELL if health["healthy"] else DEGRADED


def _sync(arguments: Arguments) -> int:
    from . import tables

    client = _client(arguments)
    if arguments.action != "status":
        client.request("sync", action=arguments.action)
    status = client.request("status")["status"]
    sync = {"state": status["state"], "hub": status.get("hub"), "link": status.get("link")}
    sync["pending"] = sum(row["pending"] for row in client.request("ledger")["ledger"])
    _show(arguments, sync, tables.sync)
    return WELL


def _show(arguments: Arguments, data: Any, table: Callable[[Any], None]) -> None:
    if arguments.json:
        import ujson

        print(ujson.dumps(data, escape_forward_slashes=False, indent=2))
    else:
        table(data)


if __name__ == "__main__":
    sys.exit(main())
