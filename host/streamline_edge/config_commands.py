"""`streamline-cli edge config …`: a configuration checked, shown, and told to boards and editors; no agent is needed.

Rule: problems go to standard error, one a line, and are exit code 2; they are
all that the agent would have and that can be known without a start.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .commands import USAGE, WELL, Arguments, Commands, show

if TYPE_CHECKING:
    from .config_reading import Reading


def add(commands: Commands) -> None:
    group = commands.group("config", "check a configuration, show it, make one for a board, or the schema for an editor")
    check = group.add(
        "check", _check, "say all that is wrong with a configuration, with its lines; exit code 2 if anything is", agent=False
    )
    check.add_argument("file", metavar="FILE")
    group.add("show", _show, "the values in force, and where each came from")
    export = group.add(
        "export", _export, "the configuration for a board, as JSON; what differs there is told on standard error", json=False
    )
    export.add_argument("--target", choices=("micropython",), required=True, help="what runs on the board")
    export.add_argument("--out", metavar="F", help="a file (default: standard output)")
    group.add("schema", _schema, "the JSON Schema of edge.yaml, for an editor", agent=False, json=False)


def _check(arguments: Arguments) -> int:
    from . import config_file, config_host
    from .config_reading import ConfigFileError

    try:
        reading = config_file.find(arguments.file)
        config_host.check(reading)
        if reading.problems:
            raise ConfigFileError(reading.problems)
        config, problems = reading.config, []
    except ConfigFileError as e:
        config, problems = None, e.problems
    if arguments.json:
        said: list[dict[str, Any]] = [
            {"line": one.place.line, "key": one.key, "text": one.text, "place": str(one.place)} for one in problems
        ]
        show(arguments, {"file": arguments.file, "ok": not problems, "problems": said}, print)
    elif config is not None:
        print(f"{arguments.file}: well: node {config.node_id}, {len(config.topics)} topic{'s' * (len(config.topics) != 1)}")
    else:
        print(*problems, sep="\n", file=sys.stderr)
    return USAGE if problems else WELL


def _show(arguments: Arguments) -> int:
    from . import config_file, config_shown, tables

    reading = config_file.find(getattr(arguments, "config", None), getattr(arguments, "data_dir", None))
    _put_operator_limits(reading)
    show(arguments, config_shown.rows(reading), tables.configuration)
    return WELL


def _put_operator_limits(reading: Reading) -> None:
    """Those that were set on the agent of that data directory come before all. Raises: UsageError."""
    from streamline_core.resources import KEYS

    from . import operator_limits
    from .config_reading import Place

    limits = operator_limits.read(reading.config.data_dir)
    for kind, value in limits.items():
        reading.put(("resources", KEYS.get(kind, kind)), value, Place("edge resources limit"))
    if limits:
        reading.check()


def _export(arguments: Arguments) -> int:
    import json
    from pathlib import Path

    from streamline_core.errors import UsageError

    from . import config_file
    from .config_board import board_config

    made = board_config(config_file.find(getattr(arguments, "config", None), getattr(arguments, "data_dir", None)))
    text = json.dumps(made.given, indent=2) + "\n"
    if arguments.out is None:
        print(text, end="")
    else:
        try:
            Path(arguments.out).write_text(text)
        except OSError as e:
            raise UsageError(f"{arguments.out} cannot be written: {e.strerror}") from None
    for note in made.notes:
        print(f"streamline-cli: {note}", file=sys.stderr)
    return WELL


def _schema(arguments: Arguments) -> int:
    import json

    from .config_schema import schema

    print(json.dumps(schema(), indent=2))
    return WELL
