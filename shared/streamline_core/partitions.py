"""The logs of a node: of each topic the partitions that are written here, and with what comes from elsewhere all that has its turn.

Rule: whoever names a partition that is not there is told which are. One log that fails stops no other: after a storage failure, what was
not durable is gone, and its producers hear of it; the rest is recovered when the storage works again. Knows nothing of sessions.
"""

from . import cbor
from .errors import StorageFull, StreamlineError, UsageError
from .partition import Partition
from .recovery import recover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .hub_feeds import FeedSource
    from .log import Log
    from .log_limits import LogLimits
    from .node import Node
    from .sender import Parting
    from .topic import TopicDefinition

EVICT_PARTS = 8  # a topic whose queue evicts gives back about so much of what may be owed at once
MARK_CLOCK = 1  # control batch [1, first offset, next offset, milliseconds to add]
MEMORY_WAIT_MS = 100  # until what there was no memory for is tried again
REOPEN_MS = 2000  # how long after a storage failure a log is tried again


class Partitions:
    """node: whose; limits: of every log. by_topic: what is written here of a topic, by number; own: all of that, as it was opened."""

    def __init__(self, node: "Node", limits: "LogLimits") -> None:
        self.by_topic: "dict[str, list[Partition]]" = {}
        self.own: "list[Partition]" = []
        self._node = node
        self._limits = limits
        self._topic_limits: "dict[str, LogLimits]" = {}
        self._reopen_at_ms: "dict[str, int]" = {}  # by folder

    def open(self, topic: str, definition: "TopicDefinition") -> "list[Partition]":
        """Recover the logs of a topic. Raises OSError where the storage cannot be read."""
        node = self._node
        limits = self._topic_limits[topic] = self._limits.cut_after(self._segment_records(topic))
        opened = self.by_topic[topic] = [
            Partition(node.config.node_id, topic, i, definition, node.storage, limits, node.clock, node.entropy)
            for i in range(definition.partitions)
        ]
        self.own.extend(opened)
        return opened

    def _segment_records(self, name: str) -> int:
        """Beyond how many records a segment of a topic ends, so that a queue that evicts gives back a part; 0: any number."""
        topic, queue_max = self._node.topics[name], self._node.config.sync.max_queue_size
        evicts = topic.queue_full == "evict" and queue_max and topic.direction != "local"
        return max(1, queue_max // EVICT_PARTS) if evicts else 0

    def limits_changed(self) -> None:
        """The limits in the configuration are others than they were."""
        for name in self._topic_limits:
            self._topic_limits[name].segment_records = self._segment_records(name)

    def get(self, topic: str, number: int) -> Partition:
        """Raises UsageError if there is no such topic or partition."""
        found = self.by_topic.get(topic)
        if found is None:
            raise UsageError("there is no topic %r here; there are: %s" % (topic, ", ".join(sorted(self.by_topic)) or "none"))
        if not 0 <= number < len(found):
            raise UsageError("topic %s has partitions 0 to %d, not %r" % (topic, len(found) - 1, number))
        return found[number]

    def log(self, topic: str, partition: int = 0) -> "Log":
        """The open log of a partition. Raises UsageError if there is no such topic or partition."""
        return self.get(topic, partition).current

    def logs(self) -> "list[Log]":
        """Every log of what was written here: for each partition its sealed epochs, then the open one."""
        return [log for partition in self.own for log in partition.logs()]

    def every(self) -> "list[Partition]":
        """All that holds logs: of what is written here, and of what comes down."""
        return self.own + self._node.downlink.partitions()

    def every_log(self) -> "list[Log]":
        """Whoever has tickets and bytes on the storage."""
        node = self._node
        own = [log for partition in self.own for log in partition.all_logs()]
        return own + node.tables.logs() + [log for partition in node.downlink.partitions() for log in partition.all_logs()]

    # For the link

    def offers(self) -> "list[Log]":
        """What a new session offers: every log that is not local. Sealed ones, too: a hub that was restored may need them again."""
        return [log for partition in self.own if not partition.local for log in partition.logs() if not log.held]

    def fork(self, log: "Log | FeedSource", parting: "Parting") -> None:
        """The hub holds, or was promised, other content of `log` (a restored disk, a cloned card, a rotten tail)."""
        for partition in self.own:
            if partition.current is log:
                try:
                    partition.fork(partition.current, parting)
                except (StorageFull, OSError):
                    return  # nothing has changed; the hub's next WANT finds it again

    def mark_clock(self, later_ms: int) -> None:
        """The clock was set: what was stamped since each log was opened is so many ms later than its stamps say."""
        for partition in self.own:
            log = partition.current
            if log.next > log.opened_at and log.failure is None:
                try:
                    log.append_mark(cbor.encode((MARK_CLOCK, log.opened_at, log.next, later_ms)))
                except StorageFull:
                    pass  # the log notes its own failure; without the mark these stamps stay untrusted, as they are

    # Time

    def tick(self, now_ms: int) -> "list[int]":
        """Do what is due of forks and logs; open again what has failed. Returns when each log wants to come again (monotonic ms), -1 for
        never."""
        node = self._node
        for partition in self.own:
            successor = partition.tick()
            if successor is not None:
                node.link.offer(successor)
        for partition in node.downlink.partitions():
            partition.tick()
        deadlines = []
        for log in self.every_log():
            if log.failure is not None:
                deadlines.append(self._reopen(log, now_ms))
            try:
                deadlines.append(log.tick(now_ms))
            except StorageFull:
                deadlines.append(self._reopen(log, now_ms))
            except MemoryError:  # what it has is kept, and tried again
                node.memory_errors += 1
                deadlines.append(now_ms + MEMORY_WAIT_MS)
        return deadlines

    def _reopen(self, log: "Log", now_ms: int) -> int:
        at_ms = self._reopen_at_ms.get(log.folder)
        if at_ms is None:
            at_ms = self._reopen_at_ms[log.folder] = now_ms + REOPEN_MS
        elif now_ms >= at_ms:
            del self._reopen_at_ms[log.folder]
            try:
                recover(log, self._node.entropy)
            except MemoryError as error:
                self._node.memory_errors += 1
                log.failure = error
            except (OSError, StreamlineError) as error:
                log.failure = error
            return now_ms
        return at_ms
