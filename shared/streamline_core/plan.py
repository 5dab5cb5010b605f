"""What would leave over the link, and what would wait, if so many bytes of it could be used.

Rule: the schedule that sends decides here, too, with the bytes that data took on the link until now for each that was stored. Sends nothing
and changes nothing.
"""

from .schedule import ALL, BACKLOG, Schedule
from .sync_queue import owed_bytes, owed_records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .link import Link
    from .log import Log
    from .node import Node

STEP_BYTES = 4096  # of the link, for which somebody has his turn
STEPS_MAX = 10000
MEASURED_BYTES_MIN = 16384  # stored bytes that must have gone before their cost is believed


class _Planned:
    """A log in the shape of a sender, as far as a schedule looks at it."""

    def __init__(self, log: "Log", weight: int, urgent: bool, lane: int, wire_bytes: int) -> None:
        self.log = log
        self.weight = weight
        self.urgent = urgent
        self.lane = lane
        self.passes = 0
        self.waiting = False
        self.left = wire_bytes
        self.sent = 0

    @property
    def ready(self) -> bool:
        return self.left > 0


def plan(node: "Node", budget_bytes: int) -> "dict[str, Any]":
    """budget_bytes, cost_percent (link bytes for 100 stored ones; None: not measured yet, and counted as 100), allowed and why, link_bytes
    that would be used, and of each log that owes anything: topic, partition, epoch, priority, and records and bytes that leave and wait.
    JSON-able."""
    link = node.link
    senders, cost = {}, cost_percent(link)
    if link.session is not None:
        senders = {sender.log.folder: sender for sender in link.session.outlet.senders.values()}
    planned: "dict[int, _Planned]" = {}
    for log in node.logs():
        if not log.local and owed_records(log):
            topic = node.topics[log.stream.topic]
            sender = senders.get(log.folder)
            lane = sender.lane if sender is not None and sender.wanted else BACKLOG
            wire_bytes = max(1, owed_bytes(log) * (cost or 100) // 100)
            planned[len(planned)] = _Planned(log, topic.priority, topic.urgent, lane, wire_bytes)
    schedule = Schedule(node.config.sync.backlog_percent)
    step = max(STEP_BYTES, budget_bytes // STEPS_MAX)
    left = budget_bytes
    while left > 0:
        one: "Any" = schedule.next(planned, ALL)  # type: ignore[arg-type]
        if one is None:
            break
        n = min(step, left, one.left)
        lane = one.lane
        one.left -= n
        one.sent += n
        left -= n
        schedule.served(one, lane, n, planned)  # type: ignore[arg-type]
    rows = [_row(planned[i], node.topics[planned[i].log.stream.topic].priority) for i in range(len(planned))]
    return {
        "budget_bytes": budget_bytes,
        "link_bytes": budget_bytes - left,
        "cost_percent": cost,
        "allowed": link.allowed and not link.paused,
        "why": node.gate.why if node.gate is not None else "",
        "rows": rows,
    }


def cost_percent(link: "Link") -> "int | None":
    """How many bytes of the link data took for 100 that were stored; None before MEASURED_BYTES_MIN of these have gone."""
    stored, wire = link.stored_bytes_out, link.wire_bytes_out
    if link.session is not None:
        stored += link.session.outlet.stored_bytes
        wire += link.session.outlet.wire_bytes
    return -(-wire * 100 // stored) if stored >= MEASURED_BYTES_MIN else None


def _row(one: _Planned, priority: int) -> "dict[str, Any]":
    log = one.log
    records, size = owed_records(log), owed_bytes(log)
    total = one.sent + one.left
    leaves = records * one.sent // total
    leaves_bytes = size * leaves // records  # a record leaves whole
    return {
        "topic": log.stream.topic,
        "partition": log.stream.partition,
        "epoch": "%08x" % log.stream.epoch,
        "priority": priority,
        "urgent": one.urgent,
        "leaves_records": leaves,
        "leaves_bytes": leaves_bytes,
        "waits_records": records - leaves,
        "waits_bytes": size - leaves_bytes,
    }
