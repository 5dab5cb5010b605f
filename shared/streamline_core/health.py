"""Is a node well? What an operator should look at, in words.

Rule: a backlog that does not shrink while it could leave is an alarm, and so are every loss and every limit that is reached; being offline
is a state of an edge, told only once it lasts, and what waits by order is no trouble. Knows only what a node says of itself.
"""

from .gaps import EXPIRED
from .node import MEASURED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .node import Node

    Seen = tuple[int, int, int, bool]

OFFLINE_MS = 60000
STUCK_MS = 30000


class Health:
    """Fed now and then with `observe`; `report` may be asked at any time. Times are ms of one steady clock. seen: what the last look of an
    earlier one left: it takes two to see that something does not move, and a board that is asked rarely has no other."""

    def __init__(self, now_ms: int, seen: "Seen | None" = None) -> None:
        self._connected_ms, self._moved_ms, self._delivered, self._rested = seen or (now_ms, now_ms, -1, True)
        self._status: "dict[str, Any]" = {}
        self._ledger: "list[dict[str, Any]]" = []
        self._limits: "list[str]" = []

    @property
    def seen(self) -> "Seen":
        return self._connected_ms, self._moved_ms, self._delivered, self._rested

    def observe(
        self,
        now_ms: int,
        status: "dict[str, Any]",
        ledger: "list[dict[str, Any]]",
        limits: "list[str] | None" = None,
        waits: bool = False,
    ) -> None:
        """limits: what `limit_problems` says; waits: what `waits` says."""
        self._status, self._ledger, self._limits = status, ledger, limits or []
        link = status.get("link")
        if link is None or link["connected"]:
            self._connected_ms = now_ms
        elif "away_ms" in link:  # who is looked at rarely says it himself
            self._connected_ms = now_ms - link["away_ms"]
        delivered = sum([row["delivered"] for row in ledger])
        idle = not any([row["pending"] for row in ledger])
        away = waits or link is None or not link["connected"]
        # After a look at which nothing wanted to leave, nobody knows when what now waits began to.
        if delivered != self._delivered or idle or away or self._rested:
            self._delivered, self._moved_ms = delivered, now_ms
        elif link is not None:  # it may have been away between two looks
            self._moved_ms = max(self._moved_ms, now_ms - link.get("connected_ms", now_ms - self._moved_ms))
        self._rested = idle or away

    def report(self, now_ms: int) -> "dict[str, Any]":
        """{"healthy": bool, "problems": [text, …]} with what was last observed."""
        status, problems = self._status, []
        pending = sum([row["pending"] for row in self._ledger])
        link = status.get("link")
        if link is not None and now_ms - self._connected_ms > OFFLINE_MS:
            secs = (now_ms - self._connected_ms) // 1000
            problems.append("no connection to %s for %d s (%s); %d records wait" % (link["endpoint"], secs, link["reason"], pending))
        if now_ms - self._moved_ms > STUCK_MS:
            problems.append("connected, but %d records have not moved for %d s" % (pending, (now_ms - self._moved_ms) // 1000))
        for row in self._ledger:
            problems.extend(_row_problems(row))
        for row in status.get("feeds", ()):
            name = "%s/%d" % (row["topic"], row["partition"])
            if row["refused"]:
                problems.append("%s: %d from the cloud could not be used: %s" % (name, row["refused"], row["why"]))
            elif row["why"]:
                problems.append("%s: what the cloud sends has to wait: %s" % (name, row["why"]))
        for row in status.get("tables", ()):
            if row["merge_failures"]:
                failures = row["merge_failures"]
                problems.append("%s: its merge module failed %d times; every version is shown" % (row["topic"], failures))
            if row.get("unlogged"):
                problems.append("%s: %d conflicts could not be written to the conflict_log" % (row["topic"], row["unlogged"]))
            if row["unreadable"]:
                problems.append("%s: %d versions cannot be read" % (row["topic"], row["unreadable"]))
        problems.extend(["storage failed: %s" % text for text in status.get("storage_failures", ())])
        if status.get("application_error"):
            problems.append("the application failed %d times; now with %s" % (status["application_failures"], status["application_error"]))
        problems.extend(self._limits)
        return {"healthy": not problems, "problems": problems}


def _row_problems(row: "dict[str, Any]") -> "list[str]":
    """Of a row of the ledger: what is lost, and what the cloud refuses."""
    problems = []
    name = "%s/%d" % (row["topic"], row["partition"])
    counts = [(cause, rows[cause]) for rows in (row["lost"], row["unconfirmed"]) for cause in rows]
    for cause, count in sorted(counts):
        if count and not (row.get("local") and cause == EXPIRED):  # that is what was asked for
            problems.append("%s: %d records lost: %s" % (name, count, cause))
    if row.get("refused"):
        problems.append("%s: the cloud refuses it: %s" % (name, row["refused"]))
    return problems


def waits(node: "Node") -> bool:
    """Whether it is by order that data stays here: paused, outside of a window or condition, or until the interval is over."""
    link = node.link
    return link.paused or not link.allowed or node.clock.monotonic_ms() < link.sync_at_ms


def limit_problems(node: "Node") -> "list[str]":
    """Which of the limits that are configured are reached, in words."""
    problems = []
    limits, evictor, link = node.config.resources, node.evictor, node.link
    over = "resources.%s: %d are used, and %d may be"
    if any([getattr(limits, key) is not None for key in MEASURED]):
        from .resources import KEYS

        kind = node.resources.is_over_limit()
        if kind is not None:
            problems.append(over % (KEYS[kind], node.resources.usage()[kind], node.resources.limit(kind) or 0))
    elif limits.max_storage and evictor.stored_bytes > limits.max_storage:
        problems.append(over % ("max_storage", evictor.stored_bytes, limits.max_storage))
    if link.pacing.waits_for_cpu:
        problems.append("sync waits for the processor (resources.max_cpu_percent: %d)" % link.pacing.cpu_percent)
    sync = node.config.sync
    if sync.max_queue_size or sync.max_queue_bytes:
        queue = node.queue
        queue.take_stock()
        if queue.is_full:
            bounds = " and ".join(
                ["sync.%s: %d" % (key, getattr(sync, key)) for key in ("max_queue_size", "max_queue_bytes") if getattr(sync, key)]
            )
            problems.append("the queue is full: %d records, %d bytes wait for the cloud (%s)" % (queue.depth, queue.bytes, bounds))
    if evictor.rejects and not evictor.kept:
        text = "storage is full: %d bytes, and nothing of them may go: what is new is refused; " % evictor.stored_bytes
        if evictor.held:
            names = sorted(set([row["name"] for row in node.consumers.status() if row["holds"] and row["lag"]]))
            text += "it waits for consumers that hold what they have not read: %s" % (", ".join(names) or "see consumers")
        else:
            text += "it waits for the cloud (resources.eviction_policy: reject)"
        problems.append(text)
    return problems
