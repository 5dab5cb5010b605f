"""What a node says of itself: its status, and the ledger that must add up.

Rule: every number comes from the logs and from what the hub confirmed; nothing is counted on the side. Changes nothing.
"""

from .gaps import STORAGE
from .topic import DIRECTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .log import Log
    from .node import Node


CLOUD_TO_EDGE = DIRECTIONS.index("cloud_to_edge")  # nothing is produced to such a topic here


def status(node: "Node") -> "dict[str, Any]":
    """node, state (as `Link.state`), why it is not open, why the last frame was refused, hub, clock ("trusted" or "untrusted"),
    stored_bytes, codec, counters, memory_errors (how often there was no memory for something), the ledger as streams, what the cloud
    sends as feeds, keyed topics as tables."""
    link = node.link
    return {
        "node": node.config.node_id,
        "state": link.state,
        "why": link.why_waiting or link.why,
        "why_refused": link.why_refused,
        "hub": link.hub,
        "clock": "trusted" if node.clock.trusted else "untrusted",
        "stored_bytes": node.evictor.stored_bytes,
        "codec": link.session.outlet.codec_name if link.session is not None else None,
        "counters": dict(link.counters),
        "memory_errors": node.memory_errors,
        "streams": ledger(node),
        "feeds": node.downlink.status(),
        "tables": node.tables.status(),
    }


def ledger(node: "Node") -> "list[dict[str, Any]]":
    """A row for each log, sealed epochs first: produced = delivered + pending + lost (as the hub counts it, by cause) + unconfirmed
    (gaps that the hub has not confirmed, by cause). A local log owes nothing to anybody: only `produced` and its gaps count there."""
    refusals = {}
    if node.link.session is not None:
        for sender in node.link.session.outlet.senders.values():
            refusals[sender.log.folder] = sender.refused
    return [_row(log, refusals.get(log.folder)) for log in node.logs() if log.definition[1:2] != (CLOUD_TO_EDGE,)]


def _row(log: "Log", refused: "str | None") -> "dict[str, Any]":
    state = log.state
    acked = 0 if log.local else state.acked
    ended = log.sealed and not log.forking
    produced = log.durable if log.local else max(log.durable, state.reported if ended else state.acked)
    unconfirmed = state.gaps.lost_from(acked, produced)
    if log.sealed and produced > max(acked, log.ends_at):
        unconfirmed[STORAGE] = produced - max(acked, log.ends_at)
    return {
        "node": log.stream.origin,
        "topic": log.stream.topic,
        "partition": log.stream.partition,
        "epoch": "%08x" % log.stream.epoch,
        "local": log.local,
        "sealed": log.sealed,
        "produced": produced,
        "delivered": 0 if log.local else acked - sum(state.lost.values()),
        "pending": 0 if log.local else produced - acked - sum(unconfirmed.values()),
        "lost": dict(state.lost),
        "unconfirmed": unconfirmed,
        "buffered": 0 if log.sealed else log.next - log.durable,
        "stored_bytes": log.segments.total_bytes,
        "first": log.first,
        "next": log.next,
        "refused": refused,
        "failure": str(log.failure) if log.failure is not None else None,
    }
