"""The command `streamline-cloud`.

Rule: 0 is well, 1 is degraded or a ledger that does not add up, 2 is wrong usage; an error is one line on stderr that
says what to do. A reader that goes away (`| head`) is no error. Each command imports its own part, so that `read` needs
no broker.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamline_core.errors import StreamlineError, UsageError
from streamline_core.topic import DIRECTIONS, KINDS, STRATEGIES
from streamline_host import standard_output

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

STORE_VARIABLE = "STREAMLINE_STORE"
STORE = "sqlite:///streamline-cloud.db"
COMMANDS = {
    "serve": "serve_command",
    "read": "read_command",
    "nodes": "list_commands",
    "ledger": "list_commands",
    "topics": "feed_commands",
    "feeds": "feed_commands",
    "get": "table_commands",
    "keys": "table_commands",
    "conflicts": "table_commands",
    "produce": "produce_commands",
    "delete": "produce_commands",
    "define": "produce_commands",
}

_EXAMPLES = """examples:
  streamline-cloud serve                                   its own broker on 127.0.0.1:1883, store in this folder
  streamline-cloud serve --broker mqtts://cloud@broker.example --password-file secret --store sqlite:////var/lib/s.db
  streamline-cloud read telemetry --from 1000 --json       records from cloud offset 1000 on, one JSON object a line
  streamline-cloud read telemetry --node gateway-7 --follow
  streamline-cloud ledger                                  what was produced, delivered, is pending, was lost, and why
  streamline-cloud define promo --direction cloud_to_edge  a topic that flows down to all edges that have it
  streamline-cloud produce promo "20 percent off"          0 when it is committed; the bridge may run or not
  streamline-cloud feeds promo --offset 41                 which node has it
  streamline-cloud get state heating                       what is shown of a key
  streamline-cloud conflicts explain state heating         who wrote what, what each had seen, which rule decided

exit codes: 0 well; 1 degraded, not committed, no such value, or a ledger that does not add up; 2 wrong usage"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="streamline-cloud",
        description="Takes what edges stream, keeps it, and shows what arrived.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    store = argparse.ArgumentParser(add_help=False)
    store.add_argument(
        "--store",
        metavar="sqlite:///PATH",
        default=os.environ.get(STORE_VARIABLE, STORE),
        help="where what arrived is kept (default: $%s, else %s)" % (STORE_VARIABLE, STORE),
    )
    _add_serve(commands.add_parser("serve", help="run the bridge between a broker and the store", parents=[store]))
    _add_read(commands.add_parser("read", help="print the records of a topic, in cloud-offset order", parents=[store]))
    nodes = commands.add_parser("nodes", help="list the nodes that ever came", parents=[store])
    nodes.add_argument("--json", action="store_true", help="a JSON array")
    ledger = commands.add_parser("ledger", help="produced, delivered, pending and lost of streams", parents=[store])
    ledger.add_argument("node", metavar="NODE", nargs="?", help="only the streams of this node")
    ledger.add_argument("--json", action="store_true", help="a JSON array")
    _add_asking(commands, store)
    _add_producing(commands, store)
    return made


def _add_asking(commands: "Commands", store: argparse.ArgumentParser) -> None:
    merge = argparse.ArgumentParser(add_help=False)
    merge.add_argument("--merge", metavar="MODULE", help="the module of a custom_merge topic: python:FILE.py, python:MODULE or wasm:FILE")
    topics = commands.add_parser("topics", help="list the topics, how they flow and how many conflicts they have", parents=[store])
    topics.add_argument("--json", action="store_true", help="a JSON array")
    get = commands.add_parser("get", help="print what is shown of a key", parents=[store, merge])
    get.add_argument("topic", metavar="TOPIC")
    get.add_argument("key", metavar="KEY")
    get.add_argument("--json", action="store_true", help="a JSON object, with all versions that stand")
    keys = commands.add_parser("keys", help="list the keys of a topic that are not deleted", parents=[store])
    keys.add_argument("topic", metavar="TOPIC")
    keys.add_argument("--prefix", metavar="P", default="", help="only keys that begin with it")
    keys.add_argument("--json", action="store_true", help="a JSON array")
    conflicts = commands.add_parser("conflicts", help="list keys with several versions, or explain one", parents=[store, merge])
    conflicts.usage = "streamline-cloud conflicts [TOPIC | explain TOPIC KEY] [--merge MODULE] [--json] [--store sqlite:///PATH]"
    conflicts.add_argument("words", metavar="TOPIC | explain TOPIC KEY", nargs="*")
    conflicts.add_argument("--json", action="store_true", help="a JSON array; of explain, an object")
    feeds = commands.add_parser("feeds", help="which node has received what", parents=[store])
    feeds.add_argument("topic", metavar="TOPIC", nargs="?", help="with all nodes that ever came (default: all that confirmed something)")
    which = feeds.add_mutually_exclusive_group()
    which.add_argument("--offset", metavar="N", type=_count, help="whether each node has the record at this cloud offset")
    which.add_argument("--key", metavar="K", help="whether each node has what stands of this key")
    feeds.add_argument("--partition", metavar="P", type=_count, help="only this one")
    feeds.add_argument("--json", action="store_true", help="a JSON array")


def _add_producing(commands: "Commands", store: argparse.ArgumentParser) -> None:
    produce = commands.add_parser("produce", help="write records to a topic that flows down to edges", parents=[store])
    produce.add_argument("topic", metavar="TOPIC")
    produce.add_argument("value", metavar="VALUE", nargs="?", help="default: each line of standard input is a record")
    produce.add_argument("--key", metavar="K", help="needed where the topic is keyed")
    delete = commands.add_parser("delete", help="write that a key of a keyed topic is deleted", parents=[store])
    delete.add_argument("topic", metavar="TOPIC")
    delete.add_argument("key", metavar="KEY")
    define = commands.add_parser("define", help="define a topic, once and for all", parents=[store])
    add = define.add_argument
    add("topic", metavar="TOPIC")
    add("--kind", choices=KINDS, default=KINDS[0], help="default: log")
    directions = [direction for direction in DIRECTIONS if direction != "local"]
    add("--direction", choices=directions, required=True, help="edge_to_cloud topics take nothing from here")
    add("--partitions", metavar="N", type=_count, default=1, help="default: 1")
    add("--strategy", choices=STRATEGIES, help="which of conflicting versions is shown (default: last_write_wins)")
    add("--merge", metavar="MODULE", help="of custom_merge: python:FILE.py, python:MODULE or wasm:FILE")
    add("--feed-filter", metavar="P", default="", help="a pattern of the keys that a node is sent; {node} is its name, * is anything")
    for made in (produce, delete, define):
        made.add_argument("--json", action="store_true", help="a JSON object")


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.epilog = "example: streamline-cloud serve --broker mqtt://broker.example --store sqlite:////var/lib/s.db"
    add = serve.add_argument
    add("--broker", metavar="URL", help="mqtt://, mqtts://, ws://, wss:// or https:// (default: a broker of its own)")
    add("--fleet", metavar="NAME", default="default", help="whose nodes to serve (default: default)")
    add("--listen", metavar="HOST:PORT", help="of its own broker (default: 127.0.0.1:1883)")
    add(
        "--password-file",
        metavar="F",
        help="with --broker: its first line is the password of the URL's user; without: lines user:password of all who may connect",
    )
    add("--ca-file", metavar="F", help="PEM certificates that prove the broker (default: the system's)")


def _add_read(read: argparse.ArgumentParser) -> None:
    read.epilog = "example: streamline-cloud read telemetry --from 1000 --json | jq .value"
    add = read.add_argument
    add("topic", metavar="TOPIC")
    add("--partition", metavar="P", type=_count, help="only this one (default: all, as they arrived)")
    add("--from", dest="start", metavar="N", type=_count, help="begin at this cloud offset")
    add("--node", metavar="NODE", help="only what this node produced")
    add("--follow", action="store_true", help="go on with what arrives, until Ctrl-C")
    add("--json", action="store_true", help="one JSON object a line (default: the value, then a line end)")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError("%r is not a number from 0 up" % text)
    return int(text)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """argparse takes an optional VALUE for left out where an option stands before it (`produce TOPIC --key K VALUE`)."""
    made = parser()
    arguments, rest = made.parse_known_args(argv)
    if len(rest) == 1 and not rest[0].startswith("-") and arguments.command == "produce" and arguments.value is None:
        arguments.value = rest.pop()
    if rest:
        made.error("unrecognized arguments: %s" % " ".join(rest))
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    standard_output.ensure()
    arguments = _parse(argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        standard_output.abandon()
        return 0
    except OSError as error:
        said = standard_output.refused(error)
        if said is None:
            raise
        print("streamline-cloud: %s" % said, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if getattr(arguments, "follow", False) else 130
    except UsageError as error:
        print("streamline-cloud: %s" % error, file=sys.stderr)
        return 2
    except StreamlineError as error:
        print("streamline-cloud: %s" % error, file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    module, name = COMMANDS[arguments.command], arguments.command
    command = getattr(importlib.import_module("." + module, __package__), name)
    return int(command(arguments))


if __name__ == "__main__":
    sys.exit(main())
