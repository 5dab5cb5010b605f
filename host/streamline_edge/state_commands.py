"""`streamline-cli edge status`, `ledger`, `topics`, `health` and `sync`: how an agent is, and its synchronisation steered.

Rule: each is one question to the agent and one table of the answer; what the numbers mean is the agent's to say.
"""

from __future__ import annotations

from .commands import DEGRADED, WELL, Arguments, Commands, client, show


def add(commands: Commands) -> None:
    commands.add("status", _status, "the node, its connection and its streams")
    commands.add("ledger", _ledger, "produced = delivered + pending + lost, for each stream")
    commands.add("topics", _topics, "the configured topics")
    commands.add("health", _health, "exit code 0 if all is well, 1 and what is wrong if not")
    sync = commands.add("sync", _sync, "look at synchronisation, or steer it")
    sync.add_argument("action", choices=("status", "now", "pause", "resume"))


def _status(arguments: Arguments) -> int:
    from . import tables

    show(arguments, client(arguments).request("status")["status"], tables.status)
    return WELL


def _ledger(arguments: Arguments) -> int:
    from . import tables

    show(arguments, client(arguments).request("ledger")["ledger"], tables.ledger)
    return WELL


def _topics(arguments: Arguments) -> int:
    from . import tables

    show(arguments, client(arguments).request("topics")["topics"], tables.topics)
    return WELL


def _health(arguments: Arguments) -> int:
    from . import tables

    health = client(arguments).request("health")["health"]
    show(arguments, health, tables.health)
    return WELL if health["healthy"] else DEGRADED


def _sync(arguments: Arguments) -> int:
    from . import tables

    connection = client(arguments)
    if arguments.action != "status":
        connection.request("sync", action=arguments.action)
    status = connection.request("status")["status"]
    sync = {"state": status["state"], "hub": status.get("hub"), "link": status.get("link")}
    sync["pending"] = sum(row["pending"] for row in connection.request("ledger")["ledger"])
    show(arguments, sync, tables.sync)
    return WELL
