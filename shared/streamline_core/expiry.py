"""Retention: what is older than its topic keeps is given back, a segment at a time, whether or not anybody wanted it still.

Rule: a segment goes when all of it is too old by a clock that was set; stamps of one that was not are of no age. What was owed to the
cloud becomes a gap. Knows nothing of limits.
"""

from .batch import HEADER_BYTES, UNTRUSTED, parse_header
from .gaps import EXPIRED
from .segments import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log
    from .node import Node

LOOK_MS_MIN, LOOK_MS_MAX = 1000, 60000


class Expiry:
    """Of the topics of a node that have a `retention`."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        shortest = min([topic.retention_ms for topic in node.topics.values() if topic.retention_ms])
        self._look_ms = max(LOOK_MS_MIN, min(LOOK_MS_MAX, shortest // 10))
        self._next_ms = 0
        self._newest: "dict[str, tuple[int, int, int]]" = {}  # by log: (first offset of the only segment, its bytes, what is newest there)
        self._buf = bytearray(HEADER_BYTES)

    def tick(self, now_ms: int) -> int:
        """Look, if it is time. Returns when to come again."""
        if now_ms >= self._next_ms:
            self._next_ms = now_ms + self._look_ms
            wall_ms = self._node.clock.wall_ms()
            if wall_ms is not None:
                for partition in self._node.partitions.every():
                    retention_ms = self._node.topics[partition.topic].retention_ms
                    if retention_ms:
                        for log in partition.logs():
                            self._expire(log, wall_ms - retention_ms)
        return self._next_ms

    def _expire(self, log: "Log", before_ms: int) -> None:
        try:
            while log.segments.bases and log.failure is None and 0 < self._newest_ms(log) < before_ms:
                if len(log.segments.bases) == 1:
                    if log.next > log.durable:
                        return  # something younger waits, and is committed anyway
                    log.segments.close_head()
                if not log.evict_oldest(EXPIRED):
                    return
        except OSError:
            return  # it is looked at again

    def _newest_ms(self, log: "Log") -> int:
        """A time before which all of the oldest segment was written (ms since 1970 UTC); 0 where nobody knows one. Raises OSError."""
        segments = log.segments
        for base in segments.bases[1:]:
            n = log.storage.read_into(segments.name_of(base), 0, self._buf)
            header = parse_header(memoryview(self._buf)[:n])
            if header is not None and not header.flags & UNTRUSTED:
                return header.hlc >> 16
        if len(segments.bases) > 1:
            return 0
        base, size = segments.bases[0], segments.sizes[0]
        known = self._newest.get(log.folder)
        if known is None or known[:2] != (base, size):
            newest = 0
            for header, _, _ in walk(log.storage, segments.name_of(base), base, self._buf, True):
                newest = 0 if header.flags & UNTRUSTED else header.hlc >> 16
            known = self._newest[log.folder] = base, size, newest
        return known[2]
