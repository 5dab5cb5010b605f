"""What producers hand to a node: which partition takes it, and whether the limits have room for it.

Rule: produce never waits for a network and never blocks; who is over a limit gets an error that says which, and nothing of his was stored.
A repeat of an idempotent producer is answered whatever the limits say. Knows nothing of links.
"""

from .errors import QueueFull, StorageFull, UsageError
from .producers import UNKNOWN_OFFSET
from .topic import partition_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .log import Log
    from .node import Node
    from .partition import Partition
    from .ports import Buffer

STICKY_RECORDS = 1000  # records without a key stay with one partition for so many


class Intake:
    """node: whose; partitions: by topic. checks: whether more than storage bounds what is accepted now."""

    def __init__(self, node: "Node", partitions: "dict[str, list[Partition]]") -> None:
        self.checks = False
        self._taken: "list[object]" = [None, 0]  # what `produce` answers, made once
        self._node = node
        self._partitions = partitions
        self._special: "dict[str, bool]" = {}  # topics to which not everything can be produced
        self._sticky: "dict[str, int]" = {}
        self._budget = node.evictor.budget
        for name in node.topics:
            topic = node.topics[name]
            if topic.kind == "keyed" or topic.direction == "cloud_to_edge":
                self._special[name] = True

    def partition_of(self, topic: str, key: "Buffer | None") -> int:
        """Where a record with this key goes: by CRC-32 of the key; without one, to one partition for a while, then to the next."""
        found = self._partitions.get(topic)
        if found is None or len(found) == 1:
            return 0
        if key is not None:
            return partition_of(bytes(key), len(found))
        turn = self._sticky.get(topic, 0)
        self._sticky[topic] = turn + 1
        return turn // STICKY_RECORDS % len(found)

    def _admit(self, topic: str, n: int, size: int) -> None:
        """Whether the limits have room for `n` records (together of at least `size` bytes). Raises QueueFull, StorageFull."""
        node, evictor, budget = self._node, self._node.evictor, self._budget
        if budget.left <= size:
            kept = evictor.take_stock(size, not evictor.rejects)
            if evictor.rejects and (not kept or evictor.left < size):
                stored = evictor.stored_bytes
                whom = "a reader of this node (see consumers)" if evictor.held else "the cloud"
                raise StorageFull("%d bytes are stored and owed to %s, as many as resources.max_storage allows" % (stored, whom))
            if evictor.waits(size):
                evictor.wanted = size
                raise QueueFull("resources.max_storage: %d bytes more have no room before the disk has caught up" % size)
        if self.checks:
            if node.resources.memory_full and topic in node.tables.topics:  # of logs, only the buffer is in memory, and that is bounded
                raise QueueFull("resources.max_memory: %d bytes, which are used" % (node.resources.limit("memory") or 0))
            if node.queue.bounded and node.topics[topic].direction != "local":
                node.queue.admit(topic, n, size)

    def _log(self, topic: str, partition: int, key: "Buffer | None") -> "Log":
        """Where it would go. Raises UsageError."""
        log = self._node.log(topic, partition if partition >= 0 else self.partition_of(topic, key))
        if self._node.topics[topic].direction == "cloud_to_edge":
            raise UsageError("topic %s flows from the cloud to edges; nothing is produced to it here" % topic)
        return log

    def produce(
        self,
        topic: str,
        value: "Buffer",
        key: "Buffer | None" = None,
        headers: "Sequence[tuple[str, Buffer]] | None" = None,
        timestamp_ms: "int | None" = None,
        producer: int = 0,
        sequence: int = 0,
        partition: int = -1,
    ) -> "tuple[Log, int]":
        """Accept one record into the log's buffer; it is durable when log.durable passes its offset.

        producer (u64, 0: none) and sequence (u64, rising): a repeat stores nothing and gives the original offset, or
        -1 where that is no longer known; -1 also for a value that a keyed topic need not store again. Returns (log, offset), in the same
        object each time, so that a bare value allocates nothing: unpack it at once. Raises UsageError, QueueFull (BacklogFull),
        StorageFull: nothing was stored.
        """
        found = self._partitions.get(topic)
        if self._special and topic in self._special:
            log = self._log(topic, partition, key)
            self._admit(topic, 1, len(value or b""))  # without a value it is a deletion
            return self._node.tables.write(log, topic, value, key, headers, timestamp_ms, producer, sequence)
        if found is not None and partition <= 0 and len(found) == 1:
            log = found[0].current  # the way of most records, without a call: it is a third of the work on a board
        else:
            log = self._log(topic, partition, key)
        if producer and sequence <= log.producers.last(producer):
            return log, log.producers.offset_of(producer, sequence)
        if self.checks or self._budget.left <= 0:
            self._admit(topic, 1, len(value))
        if key is None and not headers and timestamp_ms is None:
            taken = self._taken
            taken[1] = log.append(value, producer, sequence)
            taken[0] = log
            return taken  # type: ignore[return-value]
        return log, log.append_full(value, key, headers or (), timestamp_ms, producer, sequence)

    def delete(self, topic: str, key: "Buffer") -> "tuple[Log, int]":
        """Write that a key of a keyed topic is deleted; as `produce`."""
        self._node.tables.partition(topic, key)
        log = self._log(topic, -1, key)
        self._admit(topic, 1, 0)
        return self._node.tables.write(log, topic, None, key)

    def produce_many(
        self, topic: str, values: "Sequence[bytes]", partition: int = -1, producer: int = 0, sequence: int = 0
    ) -> "tuple[Log, int, int]":
        """Accept many bare values at once, all or none; no work per record. Returns (log, first offset, next offset) of what was stored; of
        a repeat, what is left of it. Raises as `produce`."""
        if topic in self._node.tables.topics:
            raise UsageError("topic %s is keyed: each record needs a key; use produce" % topic)
        log = self._log(topic, partition, None)
        if producer:
            repeats = log.producers.last(producer) + 1 - sequence
            if repeats > 0:
                values, sequence = values[repeats:], sequence + repeats
        if values:
            self._admit(topic, len(values), sum(map(len, values)))
        first = log.append_many(values, producer, sequence)
        return log, first, log.next

    def producer_last(self, topic: str, partition: int, producer: int) -> int:
        """The last sequence that is durable for a producer; UNKNOWN_OFFSET (-1) if it is not known."""
        last = self._node.log(topic, partition).state.producers.last(producer)
        return last if last >= 0 else UNKNOWN_OFFSET
