"""`streamline-cli edge …`: what a person or a script asks of a running agent.

Rule: results go to standard output, everything else is one line on standard error that says what to do. Exit codes: 0
well, 1 degraded or refused, 2 wrong usage, 3 no agent. Starts fast: what only some commands need is imported by them.
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
    fields = {"topic": arguments.topic, "partition": arguments.partition, "from": arguments.start}
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
