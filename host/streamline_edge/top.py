"""`streamline-cli edge top`: a live view of an agent: what comes in, what goes out, what waits, and how near the limits are.

Rule: a rate is the difference of two answers of the agent over the time between them, nothing is guessed; where the output is no terminal,
each look is printed below the last. Knows the agent only through its control socket.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from streamline_core.errors import UsageError

from . import tables
from .commands import WELL, Arguments, Commands, client

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .control_client import ControlClient

BAR_CELLS = 24
INTERVAL_SECS_MIN, INTERVAL_SECS_MAX = 0.2, 86400.0


def add(commands: Commands) -> None:
    top = commands.add("top", _top, "a live view: rates, what waits, and how near the limits are; Ctrl-C ends it")
    top.add_argument("--interval", type=float, default=1.0, metavar="SECS", help="between two looks; default: 1")
    top.add_argument("--count", type=int, default=0, metavar="N", help="end after so many looks; default: never")


class Look:
    """What an agent answered at one moment."""

    def __init__(self, connection: ControlClient) -> None:
        self.at = time.monotonic()
        self.status: dict[str, Any] = connection.request("status")["status"]
        self.resources: dict[str, Any] = connection.request("resources")["resources"]
        self.queue: dict[str, Any] = connection.request("queue")["queue"]
        self.health: dict[str, Any] = connection.request("health")["health"]
        self.streams = {(row["topic"], row["partition"], row["epoch"]): row for row in self.status["streams"]}

    def rates(self, before: Look | None) -> dict[str, Any]:
        """Per second since `before`: records produced and delivered, bytes out and in, and of each stream its own; None: not known yet."""
        names = ("produced_s", "delivered_s", "bytes_out_s", "bytes_in_s")
        if before is None or self.at <= before.at:
            return {**dict.fromkeys(names), "streams": {}}
        secs = self.at - before.at
        streams = {}
        for key, row in self.streams.items():
            old = before.streams.get(key, {"produced": 0, "delivered": 0})
            streams[key] = [(row[name] - old[name]) / secs for name in ("produced", "delivered")]
        new, old = self.status["counters"], before.status["counters"]
        moved = [max(0, new[name] - old[name]) / secs for name in ("bytes_out", "bytes_in")]
        sums = [sum(row[i] for row in streams.values()) for i in (0, 1)]
        return {**dict(zip(names, (*sums, *moved), strict=True)), "streams": streams}


def _top(arguments: Arguments) -> int:
    if not 0 < arguments.interval <= INTERVAL_SECS_MAX:
        raise UsageError(f"--interval: seconds are wanted, more than 0 and at most {INTERVAL_SECS_MAX:.0f}")
    connection = client(arguments)
    if arguments.json or not sys.stdout.isatty():
        _print_on(arguments, connection)
    else:
        _live(arguments, connection)
    return WELL


def _looks(arguments: Arguments, connection: ControlClient) -> Any:
    """(this look, the one before) as often as was asked for."""
    before, n = None, 0
    while True:
        look = Look(connection)
        yield look, before
        before, n = look, n + 1
        if n == arguments.count:
            return
        time.sleep(max(INTERVAL_SECS_MIN, arguments.interval))


def _print_on(arguments: Arguments, connection: ControlClient) -> None:
    import ujson

    for look, before in _looks(arguments, connection):
        rates = look.rates(before)
        if arguments.json:
            del rates["streams"]
            line = {**rates, "status": look.status, "resources": look.resources, "queue": look.queue, "health": look.health}
            print(ujson.dumps(line, escape_forward_slashes=False), flush=True)
        else:
            for text in _summary(look, rates):
                print(text)
            tables.show(*_streams(look, rates))
            print(flush=True)


def _live(arguments: Arguments, connection: ControlClient) -> None:
    from rich.live import Live

    with Live(screen=arguments.count == 0, auto_refresh=False) as live:
        for look, before in _looks(arguments, connection):
            live.update(_screen(look, look.rates(before)), refresh=True)


def _screen(look: Look, rates: dict[str, Any]) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    columns, rows = _streams(look, rates)
    table = Table(box=box.SIMPLE_HEAD)
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return Group(*map(Text, _summary(look, rates)), Text(), *_bars(look), table)


def _summary(look: Look, rates: dict[str, Any]) -> list[str]:
    status, queue, health = look.status, look.queue, look.health
    link = status.get("link")
    cloud = "no cloud" if link is None else f"{link['endpoint']} {'connected' if link['connected'] else 'away'}"
    age = f", the oldest {tables.ago(queue['oldest_ms'])}" if queue["oldest_ms"] is not None else ""
    return [
        f"{status['node']}: {status['state']} · {cloud} · {'healthy' if health['healthy'] else 'degraded: ' + health['problems'][0]}",
        f"in {_rate(rates['produced_s'])} records/s · delivered {_rate(rates['delivered_s'])}/s · "
        f"link out {_bytes_rate(rates['bytes_out_s'])}, in {_bytes_rate(rates['bytes_in_s'])}",
        f"waiting {queue['depth']:,} records, {tables.size(queue['bytes'])}{age}",
    ]


def _bars(look: Look) -> list[RenderableType]:
    from rich.text import Text

    bars: list[RenderableType] = []
    for kind, row in tables.in_order(look.resources["resources"]):
        limit, shown = row["limit"], tables.used(kind, row["used"])
        if not limit:
            bars.append(Text(f"{kind:<12}{shown}"))
            continue
        share = min(1.0, row["used"] / limit)
        filled = round(share * BAR_CELLS)
        style = "red" if row["over"] or share > 0.95 else "yellow" if share > 0.8 else "green"
        bar = Text(f"{kind:<12}")
        bar.append("█" * filled, style=style)
        bar.append("░" * (BAR_CELLS - filled) + f" {shown} of {tables.used(kind, limit)}")
        bars.append(bar)
    return bars


def _streams(look: Look, rates: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    columns = ["stream", "in/s", "out/s", "produced", "delivered", "pending", "lost", "stored"]
    rows = []
    for key, row in look.streams.items():
        if row["sealed"] and not row["pending"]:
            continue
        rate = rates["streams"].get(key, (None, None))
        counts = [f"{row[name]:,}" for name in ("produced", "delivered", "pending")]
        lost = sum(row["lost"].values()) + sum(row["unconfirmed"].values())
        rows.append([f"{row['topic']}/{row['partition']}", *map(_rate, rate), *counts, f"{lost:,}", tables.size(row["stored_bytes"])])
    return columns, rows


def _rate(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:,.0f}"


def _bytes_rate(rate: float | None) -> str:
    return "–" if rate is None else f"{tables.size(int(rate))}/s"
