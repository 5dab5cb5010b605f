"""The keyed topics of a node: what it shows of a key, and why.

Rule: a topic's partitions are one table to whoever asks. Knows nothing of sessions; what is written goes through the node.
"""

from .conflict import ConflictResolver
from .errors import StorageFull, StreamlineError, UsageError
from .keyed import KeyedPartition
from .producers import UNKNOWN_OFFSET
from .table import KEY_BYTES_MAX, Watch
from .topic import partition_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Sequence

    from .conflict import Merge, Resolution
    from .conflict_log import ConflictLog
    from .log import Log
    from .log_limits import LogLimits
    from .node import Node
    from .partition import Partition
    from .ports import Buffer
    from .topic import TopicDefinition
    from .version import Version

_IN_TROUBLE = (OSError, StreamlineError)


class Tables:
    """topics: the partitions of each keyed topic. found_bytes: of memory, for what was there when they were opened."""

    def __init__(self, node: "Node", limits: "LogLimits") -> None:
        self.topics: "dict[str, list[KeyedPartition]]" = {}
        self.resolvers: "dict[str, ConflictResolver]" = {}
        self.found_bytes = 0
        self._node = node
        self._limits = limits
        self._buf = bytearray(limits.batch_bytes)
        self._conflict_log: "ConflictLog | None" = None

    def open(self, topic: str, partitions: "list[Partition]", definition: "TopicDefinition", merge: "Merge | None") -> None:
        """Take up a keyed topic and fold its tables. Raises UsageError for a strategy without its merge module, OSError."""
        node, limits, buf = self._node, self._limits, self._buf
        resolver = self.resolvers[topic] = ConflictResolver(definition.strategy, merge)
        self.topics[topic] = [KeyedPartition(own, resolver, node.storage, limits, node.clock, node.entropy, buf) for own in partitions]
        before = node.memory_bytes()
        for keyed in self.topics[topic]:
            keyed.fold()
        self.found_bytes += max(0, node.memory_bytes() - before)

    def all(self) -> "Iterator[KeyedPartition]":
        for topic in sorted(self.topics):
            for keyed in self.topics[topic]:
                yield keyed

    def logs(self) -> "list[Log]":
        """The logs of what others wrote."""
        return [keyed.others for keyed in self.all()]

    def tick(self) -> bool:
        """Fold and carry over. Returns whether there is more to do at once."""
        more = False
        for keyed in self.all():
            try:
                more = keyed.tick() or more
                keyed.trouble = ""
            except _IN_TROUBLE as error:
                keyed.trouble = str(error)
            except MemoryError:  # the rest of the node goes on, and there may be some later
                keyed.trouble = "no memory"
                self._node.memory_errors += 1
        if self._node.config.conflict_log is not None:
            more = self._log_conflicts(self._node.config.conflict_log) or more
        return more

    def _log_conflicts(self, topic: str) -> bool:
        if self._conflict_log is None:
            from .conflict_log import ConflictLog  # who logs none pays for none

            self._conflict_log = ConflictLog(self._node, self, topic)
        return self._conflict_log.tick()

    def write(
        self,
        log: "Log",
        topic: str,
        value: "Buffer | None",
        key: "Buffer | None",
        headers: "Sequence[tuple[str, Buffer]] | None" = None,
        timestamp_ms: "int | None" = None,
        producer: int = 0,
        sequence: int = 0,
    ) -> "tuple[Log, int]":
        """As `Node.produce`, to the log of the key's partition; value None: the key is deleted."""
        checked = check_key(key)
        keyed = self.partition(topic, checked)
        if keyed.own.current is not log:
            raise UsageError("key %r of topic %s belongs to partition %d" % (checked, topic, keyed.number))
        if producer and sequence <= log.producers.last(producer):
            return log, log.producers.offset_of(producer, sequence)
        node = self._node
        if not node.evictor.room(len(checked) + len(value or b"")):  # what is keyed is never given up for what is new
            raise StorageFull("%d bytes are stored, as many as resources.max_storage allows" % node.evictor.stored_bytes)
        max_age_ms = node.topics[topic].unchanged_max_age_ms
        if max_age_ms and value is not None and not headers and timestamp_ms is None and not producer:
            if keyed.is_unchanged(checked, value, max_age_ms):
                return log, UNKNOWN_OFFSET
        extension = keyed.extension_for(checked)
        deleted = value is None
        offset = log.append_full(value or b"", checked, headers or (), timestamp_ms, producer, sequence, deleted, extension)
        if value is not None and node.config.cloud_endpoint is not None:
            keyed.note_write(log, offset, checked, value)
        return log, offset

    # Asking

    def partition(self, topic: str, key: "Buffer") -> KeyedPartition:
        """Where a key is. Raises UsageError for a topic that is not keyed."""
        found = self._topic(topic)
        return found[partition_of(check_key(key), len(found))]

    def _topic(self, topic: str) -> "list[KeyedPartition]":
        found = self.topics.get(topic)
        if found is None:
            keyed = ", ".join(sorted(self.topics)) or "none"
            raise UsageError("topic %r is not keyed here; keyed are: %s" % (topic, keyed))
        return found

    def take_up(self, topic: str, key: "bytes | None" = None) -> "list[KeyedPartition]":
        """The partition of a key, else all of a topic, with what is durable by now in their tables: who waited for its own write reads it.
        What a failed storage left is not looked at until it has been recovered. Raises UsageError."""
        found = self._topic(topic) if key is None else [self.partition(topic, key)]
        for keyed in found:
            if all([log.failure is None for log in [keyed.others] + keyed.own.logs()]):
                keyed.fold()
        return found

    def changed(self, topic: str, watch: Watch) -> "list[bytes]":
        """The keys that have changed since the last call; where they were too many to remember, any of the topic may have."""
        keys, more = watch.take()
        if more:
            return sorted([key for keyed in self._topic(topic) for key in keyed.table.keys(deleted=True)])
        return keys

    def get(self, topic: str, key: bytes) -> "bytes | None":
        """The value that is shown of a key; None where it was never written, or is deleted. Raises UsageError, CorruptRecord, OSError."""
        return self.partition(topic, key).get(key)

    def resolve(self, topic: str, key: bytes) -> "tuple[list[Version], Resolution | None]":
        """(the versions that stand, the earliest first; what is shown of them and why, None where no two disagree). Raises as `get`."""
        return self.partition(topic, key).resolve(key)

    def keys(self, topic: str, prefix: bytes = b"") -> "list[bytes]":
        """The keys that are not deleted, sorted."""
        return sorted([key for keyed in self._topic(topic) for key in keyed.table.keys(prefix)])

    def conflicts(self, topic: str) -> "list[bytes]":
        """The keys of which more than one version stands, sorted."""
        return sorted([key for keyed in self._topic(topic) for key in keyed.table.in_conflict()])

    def watch(self, topic: str) -> Watch:
        """Tells of keys that change from now on, however that happens; `unwatch` when it is no longer wanted."""
        watch = Watch()
        for keyed in self._topic(topic):
            keyed.table.watches.append(watch)
        return watch

    def unwatch(self, topic: str, watch: Watch) -> None:
        for keyed in self._topic(topic):
            keyed.table.watches.remove(watch)

    def status(self) -> "list[dict[str, Any]]":
        """A row for each topic."""
        rows = []
        told = self._conflict_log
        for topic in sorted(self.topics):
            tables = [keyed.table for keyed in self.topics[topic]]
            resolver = self.resolvers[topic]
            rows.append(
                {
                    "topic": topic,
                    "strategy": resolver.strategy,
                    "keys": sum([len(table) - table.deleted for table in tables]),
                    "deleted": sum([table.deleted for table in tables]),
                    "conflicts": sum([table.conflicts for table in tables]),
                    "logged": told.logged.get(topic, 0) if told is not None else 0,
                    "unlogged": told.unlogged.get(topic, 0) if told is not None else 0,
                    "resolved": dict(resolver.counts),
                    "merge_failures": resolver.merge_failures,
                    "trouble": "; ".join([keyed.trouble for keyed in self.topics[topic] if keyed.trouble]),
                    "unchanged": sum([keyed.unchanged for keyed in self.topics[topic]]),
                    "unreadable": sum([keyed.unreadable for keyed in self.topics[topic]]),
                }
            )
        return rows


def check_key(key: object) -> bytes:
    """Raises UsageError for what is no key."""
    if not isinstance(key, (bytes, bytearray, memoryview)) or not 0 < len(key) <= KEY_BYTES_MAX:
        given = "%d bytes" % len(key) if isinstance(key, (bytes, bytearray, memoryview)) else type(key).__name__
        raise UsageError("a keyed topic needs a key of 1 to %d bytes, not %s" % (KEY_BYTES_MAX, "none" if key is None else given))
    return bytes(key)
