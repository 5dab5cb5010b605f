"""What the demo shows of its fleet: a line for each stream, as a live table on a terminal and as plain text elsewhere.

Rule: it shows what the nodes and the cloud say, and adds nothing but rates. Must not know: processes.
"""

import time
from dataclasses import dataclass
from typing import Any

HEADER = ("node", "interpreter", "topic", "produced", "durable", "delivered", "pending", "lost", "rate", "link")
NUMBERS_FROM = 3
RATE_SECS = 2.0  # what a rate is taken over, at least


@dataclass
class StreamLine:
    """One stream as its node sees it. produced: accepted; durable, delivered, pending, lost: the ledger's."""

    node: str
    interpreter: str
    topic: str
    produced: int
    durable: int
    delivered: int
    pending: int
    lost: int
    rate: float
    link_bytes: int


class Rates:
    """Records per second of each stream, over the last seconds."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], list[tuple[float, int]]] = {}

    def of(self, node: str, topic: str, produced: int) -> float:
        now = time.monotonic()
        seen = self._seen.setdefault((node, topic), [])
        seen.append((now, produced))
        while len(seen) > 2 and now - seen[1][0] >= RATE_SECS:
            seen.pop(0)
        then, before = seen[0]
        return (produced - before) / (now - then) if now > then else 0.0


def lines(statuses: list[dict[str, Any]], rates: Rates) -> list[StreamLine]:
    """The streams of nodes' statuses; epochs of one partition and partitions of one topic are added up."""
    made = []
    for status in statuses:
        topics: dict[str, list[int]] = {}
        for row in status["streams"]:
            lost = sum(row["lost"].values()) + sum(row["unconfirmed"].values())
            counts = (row["produced"] + row["buffered"], row["produced"], row["delivered"], row["pending"], lost)
            topics[row["topic"]] = [a + b for a, b in zip(topics.get(row["topic"], [0] * 5), counts, strict=True)]
        for topic, counts_ in sorted(topics.items()):
            rate = rates.of(status["node"], topic, counts_[0])
            made.append(StreamLine(status["node"], status["interpreter"], topic, *counts_, rate, status["link_bytes"]))
    return made


def size(count: int) -> str:
    """Bytes as people read them."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return "%.0f %s" % (value, unit) if unit == "B" else "%.1f %s" % (value, unit)


def cells(line: StreamLine, first_of_node: bool) -> tuple[str, ...]:
    numbers = (line.produced, line.durable, line.delivered, line.pending, line.lost)
    who = (line.node, line.interpreter) if first_of_node else ("", "")
    return (*who, line.topic, *("{:,}".format(n) for n in numbers), "%.0f/s" % line.rate, size(line.link_bytes) if first_of_node else "")


def plain(streams: list[StreamLine]) -> str:
    """One line: what each stream has, short enough for a log."""
    parts = []
    for line in streams:
        part = "%s/%s produced %d durable %d delivered %d pending %d lost %d" % (
            line.node, line.topic, line.produced, line.durable, line.delivered, line.pending, line.lost,
        )  # fmt: skip
        parts.append(part + " %.0f/s" % line.rate)
    links = {line.node: line.link_bytes for line in streams}
    parts.extend("%s link %s" % (node, size(count)) for node, count in sorted(links.items()))
    return "; ".join(parts) or "no node has reported yet"


def table(streams: list[StreamLine], caption: str) -> Any:
    """A rich renderable."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left")
    for at, name in enumerate(HEADER):
        made.add_column(name, justify="right" if at >= NUMBERS_FROM else "left", no_wrap=True)
    last = ""
    for line in streams:
        if last and line.node != last:
            made.add_section()
        made.add_row(*cells(line, line.node != last), style=None if not line.lost else "red")
        last = line.node
    return made
