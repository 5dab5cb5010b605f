"""The queue of what is owed to the cloud. It is the logs: what is durable there and not confirmed yet waits, over restarts, and is bounded.

Rule: records are counted by offsets and bytes by what the disk holds, never one by one. What is more than may be owed is refused, has to
wait, or takes the place of the oldest of its topic, which is then a gap. Knows nothing of sessions.
"""

from .batch import HEADER_BYTES, UNTRUSTED, parse_header
from .errors import BacklogFull, QueueFull, UsageError
from .gaps import EVICTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .log import Log
    from .node import Node

BLOCK, EVICT = "block", "evict"  # there is "reject", too
UNBOUNDED = (1 << 62) - 1
HEADERS_PER_LOOK = 2000  # of a segment of tiny batches, so that nobody waits for it


class SyncQueue:
    """depth: records owed; bytes: what they take on the disk, as of the last time stock was taken. bounded: whether either is."""

    def __init__(self, node: "Node") -> None:
        self.depth = 0
        self.bytes = 0
        self._node = node
        self._config = node.config.sync
        self._room = UNBOUNDED
        self._room_bytes = UNBOUNDED
        self._refused = 1, 1  # the last that had no room: records, bytes
        self._reached: "dict[str, tuple[int, int, int, int, int]]" = {}  # by log: segment, exchanges, byte, offset, stamp

    @property
    def bounded(self) -> bool:
        return self._config.max_queue_size > 0 or self._config.max_queue_bytes > 0

    @property
    def has_room(self) -> bool:
        return self._room > 0 and self._room_bytes > 0

    @property
    def is_full(self) -> bool:
        """Whether what was last refused would be refused again, as of the last time stock was taken."""
        return self._refused[0] > self._room or self._refused[1] > self._room_bytes

    def take_stock(self) -> None:
        """Count what is owed."""
        depth = size = 0
        for log in self._node.logs():
            if not log.local:
                depth += owed_records(log)
                size += owed_bytes(log)
        self.depth, self.bytes = depth, size
        config = self._config
        self._room = config.max_queue_size - depth if config.max_queue_size else UNBOUNDED
        self._room_bytes = config.max_queue_bytes - size if config.max_queue_bytes else UNBOUNDED

    def admit(self, topic: str, n: int, size: int) -> None:
        """Count `n` records more, of `size` bytes, if the bounds have room for them. Raises BacklogFull, QueueFull (wait for the disk),
        UsageError for a record that they would never have room for."""
        size += HEADER_BYTES  # they may open a batch
        if n > self._room or size > self._room_bytes:
            self.take_stock()  # the cloud may have confirmed something since
        if n > self._room or size > self._room_bytes:
            config = self._config
            fits = n <= (config.max_queue_size or n) and size <= (config.max_queue_bytes or size)
            if n == 1 and not fits:
                raise UsageError("a record of %d bytes is too large: sync.max_queue_bytes allows %d" % (size, config.max_queue_bytes))
            policy = self._node.topics[topic].queue_full
            while policy == EVICT and fits and (n > self._room or size > self._room_bytes):
                if not self._give_back(topic):
                    break
                self.take_stock()
            if n > self._room or size > self._room_bytes:
                if n > self._room:
                    text = "%d records wait for the cloud, and sync.max_queue_size allows %d" % (self.depth, config.max_queue_size)
                else:
                    text = "%d bytes wait for the cloud, and sync.max_queue_bytes allows %d" % (self.bytes, config.max_queue_bytes)
                if fits:
                    self._refused = n, size
                raise BacklogFull(text, policy == BLOCK and fits, fits)
        self._room -= n
        self._room_bytes -= size

    def _give_back(self, topic: str) -> bool:
        """The oldest segment of a topic that is owed. Returns whether there was one. Raises QueueFull where it is not durable yet."""
        waits = False
        best: "Log | None" = None
        for partition in self._node.partitions.every():
            if partition.topic == topic and not partition.local:
                for log in partition.logs():
                    if not owed_records(log) or log.failure is not None:
                        continue
                    if not log.can_evict and log.next > log.durable:
                        waits = True
                    elif not log.can_evict and len(log.segments.bases) == 1:
                        log.segments.close_head()  # all of it is durable
                    if log.can_evict and (best is None or log.segments.total_bytes > best.segments.total_bytes):
                        best = log
        if best is not None:
            return best.evict_oldest(EVICTED) > 0
        if waits:
            raise QueueFull("%s: what would be given back waits for the disk" % topic)
        return False

    # How old it is

    def oldest_ms(self, log: "Log") -> "int | None":
        """When the oldest that a log owes was written (ms since 1970 UTC); None where it owes nothing, or its clock was not set. It walks
        on from where it was: what it costs is what was confirmed since. Raises OSError."""
        offset = max(log.state.acked, log.first)
        if offset >= log.durable or log.local:
            return None
        segments = log.segments
        base = segments.bases[segments.index_of(offset)]
        known = self._reached.get(log.folder)
        if known is None or known[:2] != (base, segments.exchanges) or known[3] > offset:
            known = (base, segments.exchanges, 0, base, 0)
        _, _, at, reached, stamp = known
        name, head = segments.name_of(base), bytearray(HEADER_BYTES)
        for _ in range(HEADERS_PER_LOOK):
            header = parse_header(memoryview(head)[: log.storage.read_into(name, at, head)])
            if header is None:
                break
            reached, stamp = header.base, 0 if header.flags & UNTRUSTED else header.hlc >> 16
            if header.next > offset:
                break
            at += header.length
        self._reached[log.folder] = base, segments.exchanges, at, reached, stamp
        return stamp or None

    def status(self) -> "dict[str, Any]":
        """depth, bytes, oldest_ms, the bounds, and of each log that owes anything: topic, partition, epoch, records, bytes, oldest_ms,
        priority, urgent, queue_full. JSON-able."""
        self.take_stock()
        rows: "list[dict[str, Any]]" = []
        for log in self._node.logs():
            records = 0 if log.local else owed_records(log)
            if records:
                topic = self._node.topics[log.stream.topic]
                try:
                    oldest_ms = self.oldest_ms(log)
                except OSError:
                    oldest_ms = None
                rows.append(
                    {
                        "topic": topic.name,
                        "partition": log.stream.partition,
                        "epoch": "%08x" % log.stream.epoch,
                        "records": records,
                        "bytes": owed_bytes(log),
                        "oldest_ms": oldest_ms,
                        "priority": topic.priority,
                        "urgent": topic.urgent,
                        "queue_full": topic.queue_full,
                    }
                )
        ages = [row["oldest_ms"] for row in rows if row["oldest_ms"] is not None]
        return {
            "depth": self.depth,
            "bytes": self.bytes,
            "oldest_ms": min(ages) if ages else None,
            "max_queue_size": self._config.max_queue_size,
            "max_queue_bytes": self._config.max_queue_bytes,
            "rows": rows,
        }


def owed_records(log: "Log") -> int:
    """How many records a log holds that are owed; those that it lost are owed, too, and no burden."""
    return max(0, log.next - max(log.state.acked, log.first))


def owed_bytes(log: "Log") -> int:
    """What a log holds of what is owed: whole segments, and of the one in which that begins, its share by offsets."""
    acked = log.state.acked
    if acked >= log.next:
        return 0
    size = log.unwritten_bytes
    bases, sizes = log.segments.bases, log.segments.sizes
    if bases:
        i = log.segments.index_of(acked)
        end = log.segment_end(i)
        span = max(1, end - bases[i])
        size += sum(sizes[i + 1 :]) + sizes[i] * (end - min(end, max(acked, bases[i]))) // span
    return size
