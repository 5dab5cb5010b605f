"""What the commands of `streamline-cli edge` share: how one is declared, which agent it asks, how it shows what came back.

Rule: importing this is cheap; what only some commands need is imported by them when they run. Knows no single command.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from streamline_core.errors import UsageError

if TYPE_CHECKING:
    from .control_client import ControlClient

WELL, DEGRADED, USAGE, NO_AGENT = 0, 1, 2, 3  # exit codes
DEFAULT_DATA_DIR = "streamline-data"
DATA_DIR_VARIABLE = "STREAMLINE_EDGE_DATA_DIR"

AFAR = (
    ("--node", "NODE", "which node; it is asked, and nothing is changed"),
    ("--endpoint", "URL", "of the broker, such as mqtts://USER@HOST"),
    ("--fleet", "FLEET", "default: default"),
    ("--password-file", "F", "the password of USER is its first line"),
    ("--ca-file", "F", "who has certified the broker; default: whom this system trusts"),
    ("--timeout", "SECS", "how long to wait for an answer; default: 5"),
)

Arguments = argparse.Namespace


class Asked(Protocol):
    """Whoever answers questions: the agent here, or a node somewhere."""

    def request(self, op: str, **fields: Any) -> dict[str, Any]: ...


class Commands:
    """The commands that may follow in a place of the command line. metavar: what the usage calls them."""

    def __init__(self, parser: argparse.ArgumentParser, metavar: str = "COMMAND") -> None:
        self._parsers = parser.add_subparsers(required=True, metavar=metavar)

    def group(self, name: str, help: str, agent: bool = True) -> Commands:
        """A word that other commands follow. agent: it can be told of which agent."""
        return Commands(self._parsers.add_parser(name, parents=[_agent_options()] if agent else [], help=help, description=help))

    def add(
        self, name: str, run: Callable[[Arguments], int], help: str, agent: bool = True, json: bool = True, asks: bool = False
    ) -> argparse.ArgumentParser:
        """A command. run: gets the arguments, returns the exit code. agent: it can be told of which agent; json: it has --json; asks: a
        node can be asked it from afar. Returns its parser."""
        command = self._parsers.add_parser(name, parents=[_agent_options()] if agent else [], help=help, description=help)
        if json:
            command.add_argument("--json", action="store_true", help="JSON instead of text for people")
        command.set_defaults(run=run, asks=asks)
        return command


def _agent_options() -> argparse.ArgumentParser:
    """They may stand anywhere: what is not given in one place leaves alone what was given in another."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--data-dir", metavar="D", default=argparse.SUPPRESS, help="data directory of the agent")
    options.add_argument("--config", metavar="F", default=argparse.SUPPRESS, help="configuration of the agent")
    afar = options.add_argument_group("to ask a node of the fleet, boards too", "through the broker of --config or ./edge.yaml, or:")
    for name, metavar, help in AFAR:
        afar.add_argument(name, metavar=metavar, default=argparse.SUPPRESS, type=float if metavar == "SECS" else str, help=help)
    return options


def data_dir(arguments: Arguments) -> str:
    """Where the agent's socket is: --data-dir, or what the configuration says, which may be a variable. Raises: UsageError."""
    given: str | None = getattr(arguments, "data_dir", None)
    config: str | None = getattr(arguments, "config", None)
    if given is None and (config is not None or DATA_DIR_VARIABLE in os.environ or os.path.isfile("edge.yaml")):
        from . import config_file

        given = config_file.find(config).config.data_dir
    return os.path.abspath(os.path.expanduser(given or DEFAULT_DATA_DIR))


def client(arguments: Arguments) -> ControlClient:
    """A connection to the agent. Raises: NoAgent, UsageError."""
    return connector(arguments)()


def connector(arguments: Arguments) -> Callable[[], ControlClient]:
    """What makes connections to the agent, each time it is called. Raises: UsageError; what it makes, NoAgent, too."""
    from .control_client import ControlClient

    where, starter = data_dir(arguments), None
    if getattr(arguments, "config", None) is not None:
        import shlex

        words = ["streamline", "--edge", "--config", arguments.config]
        if getattr(arguments, "data_dir", None) is not None:
            words += ["--data-dir", arguments.data_dir]
        starter = shlex.join(words)
    return lambda: ControlClient(where, starter=starter)


def only_asks() -> str:
    """What to say where a node somewhere is to do more than answer."""
    from streamline_core.answer import OPS

    return f"--node only asks; do that on the node itself. What can be asked: {', '.join(OPS)}, sync status"


def check(arguments: Arguments) -> None:
    """Raises: UsageError where a node somewhere is meant, and the command is none that can be asked from afar."""
    if getattr(arguments, "node", None) is not None:
        if not arguments.asks:
            raise UsageError(only_asks())
    else:
        for name, _, _ in AFAR:
            if hasattr(arguments, name[2:].replace("-", "_")):
                raise UsageError(f"{name} is for asking from afar; say which node with --node")


def asked(arguments: Arguments) -> Asked:
    """Whom the arguments mean: with --node a node somewhere, else the agent. Raises: NoAgent, UsageError."""
    if getattr(arguments, "node", None) is None:
        return client(arguments)
    from . import node_client

    connection = arguments.connection = node_client.client(arguments)
    return connection


def show(arguments: Arguments, data: Any, table: Callable[[Any], None]) -> None:
    """Print `data`: as JSON where that is asked for, else by `table`."""
    if arguments.json:
        import ujson

        print(ujson.dumps(data, escape_forward_slashes=False, indent=2))
    else:
        table(data)
