"""The command `streamline-cloud`.

Rule: 0 is well, 1 is degraded or a ledger that does not add up, 2 is wrong usage; an error is one line on stderr that
says what to do. A reader that goes away (`| head`) is no error. Each command imports its own part, so that `read` needs
no broker.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from streamline_core.errors import StreamlineError, UsageError

STORE_VARIABLE = "STREAMLINE_STORE"
STORE = "sqlite:///streamline-cloud.db"

_EXAMPLES = """examples:
  streamline-cloud serve                                   its own broker on 127.0.0.1:1883, store in this folder
  streamline-cloud serve --broker mqtts://cloud@broker.example --password-file secret --store sqlite:////var/lib/s.db
  streamline-cloud read telemetry --from 1000 --json       records from cloud offset 1000 on, one JSON object a line
  streamline-cloud read telemetry --node gateway-7 --follow
  streamline-cloud ledger                                  what was produced, delivered, is pending, was lost, and why

exit codes: 0 well; 1 degraded, or a ledger that does not add up; 2 wrong usage"""


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
    return made


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = parser().parse_args(argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Nobody reads any more; let the interpreter's own last flush go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 0 if getattr(arguments, "follow", False) else 130
    except UsageError as error:
        print("streamline-cloud: %s" % error, file=sys.stderr)
        return 2
    except StreamlineError as error:
        print("streamline-cloud: %s" % error, file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "serve":
        from .serve_command import serve

        return serve(arguments)
    if arguments.command == "read":
        from .read_command import read

        return read(arguments)
    from .list_commands import ledger, nodes

    return nodes(arguments) if arguments.command == "nodes" else ledger(arguments)


if __name__ == "__main__":
    sys.exit(main())
