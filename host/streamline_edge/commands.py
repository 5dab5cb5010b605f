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
DATA_DIR_VARIABLE = "STREAMLINE_EDGE_DATA_DIR"

Arguments = argparse.Namespace


class Commands:
    """The commands that may follow in a place of the command line. metavar: what the usage calls them."""

    def __init__(self, parser: argparse.ArgumentParser, metavar: str = "COMMAND") -> None:
        self._parsers = parser.add_subparsers(required=True, metavar=metavar)

    def group(self, name: str, help: str) -> Commands:
        """A word that other commands follow."""
        return Commands(self._parsers.add_parser(name, parents=[_agent_options()], help=help, description=help))

    def add(self, name: str, run: Callable[[Arguments], int], help: str, agent: bool = True, json: bool = True) -> argparse.ArgumentParser:
        """A command. run: gets the arguments, returns the exit code. agent: it can be told of which agent; json: it has --json.
        Returns its parser."""
        command = self._parsers.add_parser(name, parents=[_agent_options()] if agent else [], help=help, description=help)
        if json:
            command.add_argument("--json", action="store_true", help="JSON instead of text for people")
        command.set_defaults(run=run)
        return command


def _agent_options() -> argparse.ArgumentParser:
    """They may stand anywhere: what is not given in one place leaves alone what was given in another."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--data-dir", metavar="D", default=argparse.SUPPRESS, help="data directory of the agent")
    options.add_argument("--config", metavar="F", default=argparse.SUPPRESS, help="configuration of the agent")
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
    from .control_client import ControlClient

    return ControlClient(data_dir(arguments))


def show(arguments: Arguments, data: Any, table: Callable[[Any], None]) -> None:
    """Print `data`: as JSON where that is asked for, else by `table`."""
    if arguments.json:
        import ujson

        print(ujson.dumps(data, escape_forward_slashes=False, indent=2))
    else:
        table(data)
