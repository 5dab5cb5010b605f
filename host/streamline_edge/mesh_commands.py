"""`streamline-cli edge mesh …`: the peers of a node.

Rule: this build has no mesh yet, and each command says so; a script learns it by the exit code.
"""

from __future__ import annotations

from .commands import DEGRADED, WELL, Arguments, Commands, client, show

OFF = "mesh is off: this build does not do that yet"


def add(commands: Commands) -> None:
    mesh = commands.group("mesh", "the peers of the node")
    mesh.add("status", _status, "whether the node has peers")
    mesh.add("peers", _peers, "those that are connected")
    for name, help in (("join", "join a peer by hand"), ("leave", "disconnect from a peer")):
        mesh.add(name, _refused, help, json=False).add_argument("peer", metavar="PEER")


def _status(arguments: Arguments) -> int:
    client(arguments).request("status")  # whether there is an agent at all
    show(arguments, {"enabled": False, "peers": []}, lambda _: print(OFF))
    return WELL


def _peers(arguments: Arguments) -> int:
    client(arguments).request("status")
    show(arguments, [], lambda _: print(OFF))
    return WELL


def _refused(arguments: Arguments) -> int:
    import sys

    print(f"streamline-cli: {OFF}", file=sys.stderr)
    return DEGRADED
