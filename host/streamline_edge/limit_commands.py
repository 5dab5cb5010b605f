"""`streamline-cli edge resources`, `resources limit`, `queue` and `consumers`: what a node uses and may use, and what it owes to whom.

Rule: a limit is set on the running agent, which refuses what it cannot keep; it lasts. Knows the agent only through its control socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamline_core.errors import UsageError

from .commands import DEGRADED, WELL, Arguments, Commands, asked, show

if TYPE_CHECKING:
    from collections.abc import Callable

PERCENT_MAX = 100


def add(commands: Commands) -> None:
    resources = commands.add("resources", _resources, "what the node uses of its limits; with limit: set them, for good", asks=True)
    resources.add_argument("action", nargs="?", choices=("limit",), help="limit: set what the options say")
    limits = resources.add_argument_group("of limit")
    for name, metavar, help in (
        ("memory", "SIZE", "of the whole process, such as 256MB"),
        ("storage", "SIZE", "of all that is stored, such as 1GB; 0: what the disk has"),
        ("cpu", "PERCENT", "of one core"),
        ("files", "N", "open at once, sockets included"),
        ("connections", "N", "of the control socket, the embedded broker and the way out"),
        ("policy", "P", "what goes where storage is full: oldest, priority, lru, compact or reject"),
    ):
        limits.add_argument(f"--{name}", metavar=metavar, help=help)
    limits.add_argument("--reset", action="store_true", help="the limits of the configuration hold again, except for those given here")
    consumers = commands.add("consumers", _consumers, "the consumers that have a name: where each is, and how far behind", asks=True)
    consumers.add_argument("words", nargs="*", metavar="forget NAME", help="forget: it begins anew, and holds nothing any more")
    commands.add("queue", _queue, "what is owed to the cloud, and since when", asks=True)


def _resources(arguments: Arguments) -> int:
    from . import tables

    limits = _limits(arguments)
    if arguments.action is None and (limits or arguments.reset):
        raise UsageError("resources: to set limits, say: resources limit --memory 256MB …")
    if arguments.action is not None and not (limits or arguments.reset):
        raise UsageError("resources limit: say which, such as --memory 256MB --storage 1GB, or --reset")
    connection = asked(arguments)
    if arguments.action is None:
        resources = connection.request("resources")["resources"]
    else:
        resources = connection.request("limit", reset=arguments.reset, **limits)["resources"]
    show(arguments, resources, tables.resources)
    return DEGRADED if any(row["over"] for row in resources["resources"].values()) else WELL


def _limits(arguments: Arguments) -> dict[str, int | str]:
    """What was given, in the units of the agent. Raises: UsageError."""
    from streamline_core.config_values import read_int, read_size

    readers: dict[str, tuple[Callable[[object, tuple[int, int]], int], tuple[int, int]]] = {
        "memory": (read_size, (1, 1 << 50)),
        "storage": (read_size, (0, 1 << 50)),
        "cpu": (read_int, (1, PERCENT_MAX)),
        "files": (read_int, (1, 1 << 20)),
        "connections": (read_int, (1, 1 << 20)),
    }
    limits: dict[str, int | str] = {}
    for name, (reader, bounds) in readers.items():
        given: str | None = getattr(arguments, name)
        if given is not None:
            plain = given.strip().removesuffix("%" if name == "cpu" else "")
            try:
                limits[name] = reader(int(plain) if plain.isascii() and plain.isdigit() else given, bounds)
            except ValueError as e:
                raise UsageError(f"--{name}: {e}") from None
    if arguments.policy is not None:
        limits["policy"] = arguments.policy
    return limits


def _consumers(arguments: Arguments) -> int:
    from . import tables

    words = arguments.words
    if words and (len(words) != 2 or words[0] != "forget"):
        raise UsageError("consumers takes nothing, or: forget NAME")
    connection = asked(arguments)
    if words and not connection.request("forget", consumer=words[1])["forgotten"]:
        raise UsageError(f"there is no consumer {words[1]!r}")
    show(arguments, connection.request("consumers")["consumers"], tables.consumers)
    return WELL


def _queue(arguments: Arguments) -> int:
    from . import tables

    show(arguments, asked(arguments).request("queue")["queue"], tables.queue)
    return WELL
