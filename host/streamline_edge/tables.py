"""Answers of the agent for people: rich tables on a terminal, plain columns elsewhere.

Rule: one table for one question; what a script needs is in --json, not here. rich is imported only for a terminal.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from streamline_core.resources import KINDS

Row = list[str]

STREAM = (
    "node", "topic", "partition", "epoch", "local", "sealed", "produced", "delivered", "pending", "buffered", "stored_bytes", "first",
    "next", "refused", "failure",
)  # fmt: skip
LINE = ("port", "baud", "node", "state", "reason", "frames_in", "frames_out", "bytes_in", "bytes_out", "refused", "dropped")
FEED = ("topic", "partition", "next", "pending", "refused", "why")
TABLE = (
    "topic", "strategy", "keys", "deleted", "conflicts", "logged", "unlogged", "resolved", "merge_failures", "trouble", "unchanged",
    "unreadable",
)  # fmt: skip
CELL_CHARS_MAX = 60  # of a key or a value; --json has all of it


def status(data: dict[str, Any]) -> None:
    """The node in a few lines, then its streams."""
    link = data.get("link")
    if link is None:
        cloud = "none configured"
    else:
        cloud = f"{link['endpoint']}: {'connected' if link['connected'] else link['reason'] or 'not connected'}"
    print(f"node {data['node']}: {data['state']} · cloud {cloud}")
    _rows(data.get("streams", []), STREAM)
    beside = (("from the cloud", "feeds", FEED), ("keyed topics", "tables", TABLE), ("serial lines", "serial", LINE))
    for title, name, order in beside:
        rows = data.get(name)
        if rows:
            print(f"\n{title}:")
            _rows(rows, order)


def _rows(rows: list[dict[str, Any]], order: tuple[str, ...]) -> None:
    """A column for each of `order`, then for what a newer node may say beside, if it is no list. A board's JSON has no order."""
    found = {name for name in rows[0] if name in order or not isinstance(rows[0][name], (dict, list))} if rows else set()
    columns = [name for name in order if name in found] + sorted(found - set(order))
    show(columns, [[_cell(row.get(name)) for name in columns] for row in rows])


def ledger(rows: list[dict[str, Any]]) -> None:
    columns = ["topic", "partition", "epoch", "produced", "delivered", "pending", "lost", "unconfirmed"]
    show(columns, [[_cell(row.get(name)) for name in columns] for row in rows])


def topics(rows: list[dict[str, Any]]) -> None:
    columns = ["topic", "kind", "direction", "partitions", "strategy"]
    show(columns, [[_cell(row[name]) for name in columns] for row in rows])


def health(data: dict[str, Any]) -> None:
    if "acknowledged" in data:
        print(f"acknowledged: {data['acknowledged']} records lost; `edge ledger` goes on counting them")
    print("healthy" if data["healthy"] else "degraded:")
    for problem in data["problems"]:
        print(f"  {problem}")


def sync(data: dict[str, Any]) -> None:
    age = f", the oldest {ago(data['oldest_ms'])}" if data["oldest_ms"] is not None else ""
    print(f"{data['state']}, {data['pending']:,} records pending{age}")
    link = data.get("link")
    if link is not None and not link["connected"]:
        print(f"  {link['endpoint']}: {link['reason'] or 'not connected'}")
    elif link is None and data["state"] == "offline":
        print("  no cloud is configured (cloud_endpoint)")
    elif data["why"]:
        print(f"  {data['why']}")


def resources(data: dict[str, Any]) -> None:
    """Each kind with what is used of its limit; those that an operator has set are marked."""
    rows = []
    for kind, row in in_order(data["resources"]):
        limit = row["limit"]
        share = f"{row['used'] * 100 // limit} %" if limit else ""
        no_limit = "the disk" if limit == 0 else "none"
        mark = "over" if row["over"] else "set" if kind in data.get("set", ()) else ""
        rows.append([kind, used(kind, row["used"]), used(kind, limit) if limit else no_limit, share, mark])
    show(["resource", "used", "limit", "of it", ""], rows)
    print(f"\nwhere storage is full: {data['eviction_policy']}; given back since the start: {size(data['evicted_bytes'])}; ", end="")
    print(f"free on the disk: {size(data['free_bytes'])}")
    if data["waits_for_cpu"]:
        print("sync waits for the processor (max_cpu_percent)")


def in_order(rows: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(rows.items(), key=lambda item: KINDS.index(item[0]) if item[0] in KINDS else len(KINDS))


def queue(data: dict[str, Any]) -> None:
    bounds = [f"{data['max_queue_size']:,} records" if data["max_queue_size"] else ""]
    bounds.append(size(data["max_queue_bytes"]) if data["max_queue_bytes"] else "")
    allowed = " and ".join(filter(None, bounds))
    age = f", the oldest {ago(data['oldest_ms'])}" if data["oldest_ms"] is not None else ""
    print(f"{data['depth']:,} records wait for the cloud, {size(data['bytes'])}{age}" + (f"; {allowed} may" if allowed else ""))
    columns = ["topic", "partition", "records", "bytes", "oldest", "priority", "urgent", "queue_full"]
    rows = []
    for row in data["rows"]:
        oldest = ago(row["oldest_ms"]) if row["oldest_ms"] is not None else ""
        given = [_cell(row[name]) for name in ("topic", "partition", "records")]
        rows.append([*given, size(row["bytes"]), oldest, *[_cell(row[name]) for name in columns[5:]]])
    if rows:
        show(columns, rows)


def consumers(rows: list[dict[str, Any]]) -> None:
    columns = ["name", "topic", "partition", "feed", "holds", "epoch", "offset", "lag"]
    show(columns, [[_cell(row[name]) for name in columns] for row in rows])


def plan(data: dict[str, Any]) -> None:
    cost = data["cost_percent"]
    measured = f"{cost} bytes of the link for 100 stored ones, as measured" if cost is not None else "not measured yet: counted as stored"
    print(f"of {size(data['budget_bytes'])}, {size(data['link_bytes'])} would be used ({measured})")
    if not data["allowed"]:
        print(f"nothing but what is urgent leaves now: {data['why'] or 'sync is paused'}")
    columns = ["topic", "partition", "priority", "leaves", "", "waits", ""]
    rows = []
    for row in data["rows"]:
        leaves = [_cell(row["leaves_records"]), size(row["leaves_bytes"])]
        waits = [_cell(row["waits_records"]), size(row["waits_bytes"])]
        rows.append([*[_cell(row[name]) for name in columns[:3]], *leaves, *waits])
    show(columns, rows)


def used(kind: str, amount: int) -> str:
    """So much of a kind of resource."""
    return f"{amount} %" if kind == "cpu" else size(amount) if kind in ("memory", "storage") else _cell(amount)


def size(n: int) -> str:
    """Bytes, in the units that a configuration takes."""
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if n >= factor:
            return f"{n / factor:.1f} {unit}"
    return f"{n} B"


def ago(time_ms: int) -> str:
    secs = max(0, int(time.time() - time_ms / 1000))
    for unit, factor in (("d", 86400), ("h", 3600), ("min", 60)):
        if secs >= 2 * factor:
            return f"{secs // factor} {unit} old"
    return f"{secs} s old"


def configuration(rows: list[dict[str, Any]]) -> None:
    show(["key", "value", "from"], [[row["key"], _setting(row["value"]), row["source"]] for row in rows])


def _setting(value: Any) -> str:
    """As it may be written in a configuration."""
    if isinstance(value, list):
        return f"[{', '.join(map(_setting, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_setting(value[name])}' for name in sorted(value))}}}"
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def conflicts(rows: list[dict[str, Any]]) -> None:
    if not rows:
        print("no conflicts")
        return
    show(["topic", "key", "versions"], [[row["topic"], _data(row["key"]), _cell(row["versions"])] for row in rows])


def explanation(data: dict[str, Any]) -> None:
    """What is shown of a key and why, then the versions; those that won are marked."""
    conflict, versions = data["conflict"], data["versions"]
    print(f"{data['topic']}/{data['partition']} key {_data(data['key'])}: {_data(data['shown'])}")
    if conflict is None:
        print("no conflict: one version stands")
    else:
        print(f"conflict: {conflict['type']}, {len(versions)} versions stand")
        print(f"resolution: {conflict['resolution']}, by {conflict['rule']}")
        if conflict["merge_failure"]:
            print(f"the merge module failed: {conflict['merge_failure']}")
    winners = conflict["winners"] if conflict is not None else [row["version"] for row in versions]
    rows = []
    for row in versions:
        clock = "absurd" if row["demoted"] else "set" if row["trusted"] else "not set"
        seen = ", ".join(f"{seen['node']}/{seen['epoch']}@{seen['next'] - 1}" for seen in row["seen"])
        mark = "*" if row["version"] in winners else ""
        rows.append([mark, row["version"], row["side"], row["time"] or "unknown", clock, seen or "nothing", _data(row["value"])])
    show(["shown", "version", "side", "time", "clock", "had seen", "value"], rows)


def _data(value: str | dict[str, str] | None) -> str:
    """Bytes for a cell: nothing in them may steer the terminal."""
    if value is None:
        return "(deleted)"
    text = "base64:" + value["base64"] if isinstance(value, dict) else value
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 1] + "…"


def show(columns: Row, rows: list[Row]) -> None:
    """Print a table."""
    if not rows:
        print("nothing to show")
    elif sys.stdout.isatty():
        _rich(columns, rows)
    else:
        widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
        for row in [columns, *rows]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _rich(columns: Row, rows: list[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for i, name in enumerate(columns):
        numeric = all(row[i].replace(",", "").isdigit() for row in rows)
        table.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*map(Text, row))  # as it stands: a key is no markup
    Console().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {value[name]:,}" for name in sorted(value) if value[name]) or "0"
    if isinstance(value, bool) or value is None:
        return "" if value is None else ("yes" if value else "no")
    return f"{value:,}" if isinstance(value, int) else str(value)
