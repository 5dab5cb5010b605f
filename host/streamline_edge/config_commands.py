"""`streamline-cli edge config …`: a configuration checked and shown, with no agent needed.

Rule: problems go to standard error, one a line, and are exit code 2; they are the same that the agent would have.
"""

from __future__ import annotations

import sys
from typing import Any

from .commands import USAGE, WELL, Arguments, Commands, show


def add(commands: Commands) -> None:
    group = commands.group("config", "check a configuration, or show it")
    check = group.add(
        "check", _check, "say all that is wrong with a configuration, with its lines; exit code 2 if anything is", agent=False
    )
    check.add_argument("file", metavar="FILE")
    group.add("show", _show, "the values in force, and where each came from")


def _check(arguments: Arguments) -> int:
    from . import config_file
    from .config_reading import ConfigFileError

    try:
        config, problems = config_file.find(arguments.file).config, []
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
    show(arguments, config_shown.rows(reading), tables.configuration)
    return WELL
