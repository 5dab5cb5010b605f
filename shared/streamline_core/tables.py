"""The keyed topics of a node: what it shows of a key, and why.

Rule: a topic's partitions are one table to whoever asks. Knows nothing of sessions; what is written goes through the node.
"""

from .conflict import ConflictResolver
from .errors import StorageFull, StreamlineError, UsageError
from .keyed import KeyedPartition
from .table import Watch
from .topic import partition_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

    from .conflict import Merge, Resolution
    from .hlc import HybridClock
    from .log import Log
    from .log_limits import LogLimits
    from .partition import Partition
    from .ports import Entropy, Storage
    from .topic import TopicDefinition
    from .version import Version

KEY_BYTES_MAX = 1024


class Tables:
    """topics: the partitions of each keyed topic."""

    def __init__(self, storage: "Storage", limits: "LogLimits", clock: "HybridClock", entropy: "Entropy", buf: bytearray) -> None:
        self.topics: "dict[str, list[KeyedPartition]]" = {}
        self.resolvers: "dict[str, ConflictResolver]" = {}
        self._ports = storage, limits, clock, entropy, buf

    def open(self, topic: str, partitions: "list[Partition]", definition: "TopicDefinition", merge: "Merge | None") -> None:
        """Take up a keyed topic and fold its tables. Raises UsageError for a strategy without its merge module, OSError."""
        storage, limits, clock, entropy, buf = self._ports
        resolver = self.resolvers[topic] = ConflictResolver(definition.strategy, merge)
        self.topics[topic] = [KeyedPartition(own, resolver, storage, limits, clock, entropy, buf) for own in partitions]

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
            except (StorageFull, OSError, StreamlineError) as error:
                keyed.trouble = str(error)
        return more

    # Asking

    def partition(self, topic: str, key: bytes) -> KeyedPartition:
        """Where a key is. Raises UsageError for a topic that is not keyed."""
        found = self._topic(topic)
        return found[partition_of(check_key(key), len(found))]

    def _topic(self, topic: str) -> "list[KeyedPartition]":
        found = self.topics.get(topic)
        if found is None:
            keyed = ", ".join(sorted(self.topics)) or "none"
            raise UsageError("topic %r is not keyed here; keyed are: %s" % (topic, keyed))
        return found

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
                    "resolved": dict(resolver.counts),
                    "merge_failures": resolver.merge_failures,
                    "unchanged": sum([keyed.unchanged for keyed in self.topics[topic]]),
                    "unreadable": sum([keyed.unreadable for keyed in self.topics[topic]]),
                }
            )
        return rows


def check_key(key: object) -> bytes:
    """Raises UsageError for what is no key."""
    if not isinstance(key, (bytes, bytearray, memoryview)) or not 0 < len(key) <= KEY_BYTES_MAX:
        given = "%d bytes" % len(key) if isinstance(key, (bytes, bytearray, memoryview)) else type(key).__name__
        raise UsageError("a keyed topic needs a key of 1 to %d bytes, not %s" % (KEY_BYTES_MAX, given))
    return bytes(key)
