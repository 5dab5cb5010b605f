"""`streamline-cli edge status`, `ledger`, `topics`, `health` and `sync`: how an agent is, and its synchronisation steered.

Rule: each is one question to the agent and one table of the answer; what the numbers mean is the agent's to say.
"""

from __future__ import annotations

from streamline_core.errors import UsageError

from .commands import DEGRADED, WELL, Arguments, Commands, asked, show

SYNC_ACTION = "now: ahead of windows, condition and interval, once; while offline it does not shorten the wait for the next try to connect"


def add(commands: Commands) -> None:
    commands.add("status", _status, "the node, its connection and its streams", asks=True)
    commands.add("ledger", _ledger, "produced = delivered + pending + lost, for each stream", asks=True)
    commands.add("topics", _topics, "the configured topics", asks=True)
    health = commands.add("health", _health, "exit code 0 if all is well, 1 and what is wrong if not", asks=True)
    health.add_argument("--acknowledge", action="store_true", help="what is lost by now is known: told no more here, still in the ledger")
    sync = commands.add("sync", _sync, "look at synchronisation, or steer it", asks=True)
    sync.add_argument("action", choices=("status", "now", "pause", "resume", "plan"), help=SYNC_ACTION)
    sync.add_argument("--budget", metavar="SIZE", help="of plan: how much of the link could be used, such as 5MB")


def _status(arguments: Arguments) -> int:
    from . import tables

    show(arguments, asked(arguments).request("status")["status"], tables.status)
    return WELL


def _ledger(arguments: Arguments) -> int:
    from . import tables

    show(arguments, asked(arguments).request("ledger")["ledger"], tables.ledger)
    return WELL


def _topics(arguments: Arguments) -> int:
    from . import tables

    show(arguments, asked(arguments).request("topics")["topics"], tables.topics)
    return WELL


def _health(arguments: Arguments) -> int:
    from . import tables

    answer = asked(arguments).request("acknowledge" if arguments.acknowledge else "health")
    health = answer["health"]
    if arguments.acknowledge:
        health = {"acknowledged": answer["acknowledged"], **health}
    show(arguments, health, tables.health)
    return WELL if health["healthy"] else DEGRADED


def _sync(arguments: Arguments) -> int:
    from . import tables

    if (arguments.action == "plan") != (arguments.budget is not None):
        raise UsageError("sync plan --budget SIZE, such as 5MB: a plan needs a budget, and nothing else has one")
    connection = asked(arguments)
    if arguments.action == "plan":
        from streamline_core.config_values import read_size

        try:
            budget = read_size(int(arguments.budget) if arguments.budget.isdecimal() else arguments.budget, (0, 1 << 50))
        except ValueError as e:
            raise UsageError(f"--budget: {e}") from None
        show(arguments, connection.request("plan", budget=budget)["plan"], tables.plan)
        return WELL
    if arguments.action != "status":
        connection.request("sync", action=arguments.action)
    status = connection.request("status")["status"]
    sync = {name: status.get(name) for name in ("state", "why", "hub", "link")}
    sync["pending"] = sum(row["pending"] for row in connection.request("ledger")["ledger"])
    sync["oldest_ms"] = connection.request("queue")["queue"]["oldest_ms"]
    show(arguments, sync, tables.sync)
    return WELL
