"""What the commands of `streamline-cli edge` share: how one is declared, which agent it asks, how it shows what came back.

Rule: importing this is cheap; what only some commands need is imported by them when they run. Knows no single command.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .control_client import ControlClient

WELL, DEGRADED, USAGE, NO_AGENT = 0, 1, 2, 3  # exit codes
DEFAULT_DATA_DIR = "streamline-data"

Arguments = argparse.Namespace


class Commands:
    """The parser of `streamline-cli edge …`, to which each group of commands adds its own."""

    def __init__(self, tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        self._where = argparse.ArgumentParser(add_help=False)
        self._where.add_argument("--data-dir", metavar="D", default=argparse.SUPPRESS, help="data directory of the agent")
        self._where.add_argument("--config", metavar="F", default=argparse.SUPPRESS, help="configuration of the agent")
        self._out = argparse.ArgumentParser(add_help=False, parents=[self._where])
        self._out.add_argument("--json", action="store_true", help="JSON instead of a table")
        edge = tools.add_parser("edge", parents=[self._where], help="an edge agent on this machine")
        self._parsers = edge.add_subparsers(required=True, metavar="COMMAND")

    def add(self, name: str, run: Callable[[Arguments], int], help: str, plain: bool = False) -> argparse.ArgumentParser:
        """A command of an agent. run: gets the arguments, returns the exit code. plain: it has no --json. Returns its parser."""
        command = self._parsers.add_parser(name, parents=[self._where if plain else self._out], help=help, description=help)
        command.set_defaults(run=run)
        return command


def data_dir(arguments: Arguments) -> str:
    """Where the agent's socket is: --data-dir, or what the configuration says. Raises: UsageError."""
    given: str | None = getattr(arguments, "data_dir", None)
    config: str | None = getattr(arguments, "config", None)
    if given is None and (config is not None or os.path.isfile("edge.yaml")):
        from . import config_file

        given = config_file.find(config).data_dir
    return os.path.abspath(os.path.expanduser(given or DEFAULT_DATA_DIR))


def client(arguments: Arguments) -> ControlClient:
    """A connection to the agent. Raises: NoAgent, UsageError."""
    from .control_client import ControlClient

    return ControlClient(data_dir(arguments))


def show(arguments: Arguments, data: Any, table: Callable[[Any], None]) -> None:
    """Print `data`: as JSON where that is asked for, else by `table`."""
    if arguments.json:
        import ujson

        print(ujson.dumps(data, escape_forward_slashes=False, indent=2))
    else:
        table(data)
