"""A node: topics and their logs, the link to the hub, the clock, and the limits, wired together.

Rule: everything that takes time is a ticket or a deadline. What producers hand over goes straight to the intake, what a carrier brings and
takes straight to the link; the shell calls `tick` after any input, and at the deadline it returned. Knows nothing of files, sockets or
asyncio.
"""

from . import report
from .absent import NoDownlink, NoTables
from .errors import NOT_STORED
from .eviction import Evictor
from .hlc import HybridClock
from .intake import Intake
from .log_limits import LogLimits
from .node_state import AS_CONFIGURED, PAUSED, RESUMED, NodeState
from .partitions import Partitions
from .topic import TopicDefinition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .codec import Codecs
    from .compaction import Compactor
    from .config import EdgeConfig
    from .conflict import Merge
    from .consumer import Consumer
    from .downlink import Downlink
    from .expiry import Expiry
    from .gate import Gate
    from .link import Link
    from .local_consumers import LocalConsumers
    from .ports import Clock, Entropy, Meter, Storage
    from .resources import ResourceManager
    from .sync_queue import SyncQueue
    from .tables import Tables

FEED_CREDIT_BYTES_MAX = 1 << 20
MEASURED = ("max_memory", "max_cpu_percent", "max_file_descriptors", "max_connections")  # limits that need somebody who measures


class Node:
    """config: an EdgeConfig; merges: {topic: (its merge module, the hash of that)} where the strategy is custom_merge; meter: what
    tells what the process uses, or None; the rest are the ports. Nothing is read before `open`. partitions: where the logs are;
    tables: what keyed topics show; downlink: what the cloud sends; link: to the hub, from `open` on."""

    link: "Link"

    def __init__(
        self,
        config: "EdgeConfig",
        clock: "Clock",
        storage: "Storage",
        entropy: "Entropy",
        codecs: "Codecs",
        merges: "dict[str, tuple[Merge, bytes]] | None" = None,
        meter: "Meter | None" = None,
    ) -> None:
        self.config = config
        self.storage = storage
        self.entropy = entropy
        self.clock = HybridClock(clock)
        self.topics = config.topics
        self._codecs = codecs
        self._merges = merges or {}
        self._meter = meter
        self.state = NodeState(storage)
        self.memory_errors = 0  # how often something was put off, dropped or refused for want of memory
        log = config.log
        self._limits = LogLimits(
            log.segment_bytes, log.batch_bytes, log.buffer_bytes, log.commit_interval_ms, log.producers_max,
            cursor_interval_ms=log.cursor_interval_ms,
        )  # fmt: skip
        self.evictor = Evictor(self, self._limits.budget)
        partitions = self.partitions = Partitions(self, self._limits)
        self.log, self.logs = partitions.log, partitions.logs
        self._resources: "ResourceManager | None" = None
        self._queue: "SyncQueue | None" = None
        self._consumers: "LocalConsumers | None" = None
        intake = self._intake = Intake(self, partitions.by_topic)
        self.produce, self.produce_many, self.delete = intake.produce, intake.produce_many, intake.delete
        self.partition_of, self.producer_last = intake.partition_of, intake.producer_last
        self._expiry: "Expiry | None" = None
        self.gate: "Gate | None" = None
        self._compactor: "Compactor | None" = None
        self.tables: "Tables" = NoTables()  # type: ignore[assignment]
        self.downlink: "Downlink" = NoDownlink()  # type: ignore[assignment]

    # Opening and closing

    def open(self) -> None:
        """Recover every log. Raises OSError where the storage cannot be read."""
        config = self.config
        self.state.load(self.entropy)
        link = self._make_link()
        self._prepare(max(link.read_bytes, min(FEED_CREDIT_BYTES_MAX, config.log.buffer_bytes)))
        for name in sorted(self.topics):
            self._open_topic(name)
        self.link = link
        self._prepare_times()
        link.paused = self.state.paused(config.sync.enabled)
        if any([getattr(config.resources, key) is not None for key in MEASURED]):
            self.resources.opened()
        if config.consumers or self.storage.size("consumers.0") > 0 or self.storage.size("consumers.1") > 0:
            self.consumers.tick(self.clock.monotonic_ms())
        self.limits_changed()

    def _make_link(self) -> "Link":
        try:
            from .link import make_link
        except ImportError:  # an image without edge-sync
            from .no_link import NoLink

            return NoLink()  # type: ignore[return-value]
        return make_link(self, self.config, self._codecs, self.clock.monotonic_ms, self._meter)

    @property
    def consumers(self) -> "LocalConsumers":
        """Its readers that have a name."""
        if self._consumers is None:
            from .local_consumers import LocalConsumers

            self._consumers = LocalConsumers(self, self.config.consumers)
        return self._consumers

    @property
    def resources(self) -> "ResourceManager":
        """Its limits, and what it uses. Made when it is first asked for, as the queue is: a board pays for each."""
        if self._resources is None:
            from .resources import ResourceManager

            self._resources = ResourceManager(self, self._meter, self.evictor)
        return self._resources

    @property
    def queue(self) -> "SyncQueue":
        """What it owes to the cloud."""
        if self._queue is None:
            from .sync_queue import SyncQueue

            self._queue = SyncQueue(self)
        return self._queue

    def limits_changed(self) -> None:
        """The limits in the configuration are others than they were, or it has just been opened."""
        if self.config.sync.max_queue_size or self.config.sync.max_queue_bytes:
            self.queue.take_stock()
        if self._compactor is None and self.config.resources.eviction_policy == "compact":
            from .compaction import Compactor

            self._compactor = Compactor(self)
        self.partitions.limits_changed()
        self.link.pacing.cpu_percent = self.config.resources.max_cpu_percent or 0
        self._take_stock(self.clock.monotonic_ms())

    def _take_stock(self, now_ms: int) -> None:
        self.evictor.take_stock()
        resources, queue = self._resources, self._queue
        checks = False
        if resources is not None:
            resources.tick(now_ms)
            checks = resources.memory_full
        if queue is not None and queue.bounded:
            queue.take_stock()
            checks = True
        self._intake.checks = checks

    def _prepare(self, credit_bytes: int) -> None:
        """Load what the topics need: what none of them needs costs a board no memory."""
        topics = self.topics.values()
        if any([topic.kind == "keyed" for topic in topics]):
            from .tables import Tables

            self.tables = Tables(self, self._limits)
        if any([topic.direction in ("cloud_to_edge", "bidirectional") for topic in topics]):
            from .downlink import Downlink

            self.downlink = Downlink(self, self._limits, credit_bytes)

    def _prepare_times(self) -> None:
        """Load what windows, a condition and retention need, where there are any."""
        sync = self.config.sync
        if self.gate is None and (sync.windows or sync.condition is not None):
            from .gate import Gate

            self.gate = Gate(sync, self.clock)
        self._expiry = None
        if any([topic.retention_ms for topic in self.topics.values()]):
            from .expiry import Expiry

            self._expiry = Expiry(self)

    def reconfigured(self) -> None:
        """Take up the values in the configuration that may change while it runs: of `sync`, but for `enabled` and `compression`, of
        `resources`, `log.commit_interval_ms`, and of topics priority, urgent, retention and queue_full."""
        for log in self.partitions.every_log():
            log.limits.commit_interval_ms = self.config.log.commit_interval_ms
        self._prepare_times()
        self.limits_changed()
        self.link.reconfigured()

    def _open_topic(self, name: str) -> None:
        """Raises UsageError where a merge module is missing."""
        topic = self.topics[name]
        merge, merge_hash = self._merges.get(name, (None, b""))
        definition = TopicDefinition(topic.kind, topic.direction, topic.partitions, topic.strategy, merge_hash, topic.feed_filter)
        partitions = self.partitions.open(name, definition)
        if topic.kind == "keyed":
            self.tables.open(name, partitions, definition, merge)
        if definition.down:
            for i in range(topic.partitions):
                self.downlink.take_part(name, i, definition, self.tables.topics[name][i] if topic.kind == "keyed" else None)

    def close(self) -> None:
        """Commit everything and save what is worth it; it is done when `idle`."""
        now_ms = self.clock.monotonic_ms()
        self.downlink.close()
        if self._consumers is not None:
            self._consumers.tick(now_ms)
        for log in self.partitions.every_log():
            if log.failure is None:
                try:
                    log.commit()
                except NOT_STORED:
                    pass  # what it could not write was never durable; the other logs are closed all the same
                try:
                    log.save_state(now_ms)
                except MemoryError:
                    pass  # its cursor is behind, and that is all

    @property
    def idle(self) -> bool:
        logs_idle = all([log.idle or log.failure is not None for log in self.partitions.every_log()])
        consumers_idle = self._consumers is None or self._consumers.idle
        return logs_idle and not self.state.slots.ticket and self.downlink.idle and consumers_idle

    # Consuming

    def consumer(self, topic: str, partition: int = 0, offset: int = 0, feed: bool = False) -> "Consumer":
        """Reads a partition from `offset` on. feed: what the cloud sent, by cloud offset, instead of what was written here; so it is anyway
        of a topic that only flows down. Raises UsageError."""
        own, buf = self.partitions.get(topic, partition), bytearray(self.config.log.batch_bytes)
        if feed or self.topics[topic].direction == "cloud_to_edge":
            return self.downlink.consumer(topic, partition, offset, buf)
        from .consumer import Consumer  # a board that only writes does not pay for it

        return Consumer(own, offset, buf)

    def offset_at(self, topic: str, partition: int, time_ms: int, feed: bool = False) -> int:
        """The first offset stamped at `time_ms` (since 1970 UTC) or later, of what was written here; feed: of what the cloud sent, as it is
        anyway of a topic that only flows down. Raises UsageError."""
        from .consumer import feed_offset_at, offset_at

        log = self.log(topic, partition)
        if feed or self.topics[topic].direction == "cloud_to_edge":
            return feed_offset_at(self.downlink.feed_partition(topic, partition).logs(), time_ms)
        return offset_at(log, time_ms)

    # Time and tickets

    def tick(self) -> int:
        """Do what is due: commits, forks, limits, the link. Returns when to come again at the latest (monotonic ms), -1 for never."""
        now_ms = self.clock.monotonic_ms()
        deadlines = self.partitions.tick(now_ms)
        if self.tables.topics and self.tables.tick():
            deadlines.append(now_ms)
        deadlines.extend(self.downlink.tick(now_ms))
        if self._consumers is not None:
            self._consumers.tick(now_ms)
        if self._expiry is not None:
            deadlines.append(self._expiry.tick(now_ms))
        self._take_stock(now_ms)
        if self._compactor is not None and self.config.resources.eviction_policy == "compact":
            deadlines.append(self._compactor.tick(now_ms))
        deadlines.append(self.state.tick(now_ms))
        if self.gate is not None:
            deadlines.append(self.gate.tick(now_ms))
            self.link.allow(self.gate.open, self.gate.why)
        deadlines.append(self.link.tick())
        waiting = [t for t in deadlines if t >= 0]
        return min(waiting) if waiting else -1

    def synced(self, ticket: int, error: "Exception | None" = None) -> None:
        """The storage completed a ticket."""
        for slots in (self.state.slots, self._consumers.slots if self._consumers is not None else None):
            if slots is not None and ticket == slots.ticket:
                slots.synced(error)
                return
        if self._compactor is not None and ticket == self._compactor.ticket:
            self._compactor.synced(error)
            return
        for log in self.partitions.every_log():
            if log.owns(ticket):
                log.synced(ticket, error)
                return
        self.downlink.synced(ticket, error)

    def memory_bytes(self) -> int:
        """That are really used, where somebody measures them; else 0."""
        if self._meter is None:
            return 0
        self._meter.relieve()
        return self._meter.memory_bytes()

    # Sync

    def pause(self) -> None:
        """Send nothing, over restarts too, until `resume`."""
        self.link.paused = True
        self.state.steer(PAUSED)

    def resume(self) -> None:
        """Undo `pause`; where sync is not enabled, send all the same, over restarts too."""
        self.link.paused = False
        self.state.steer(AS_CONFIGURED if self.config.sync.enabled else RESUMED)

    # What it says of itself

    def status(self) -> "dict[str, Any]":
        """JSON-able: see `report.status`."""
        return report.status(self)

    def ledger(self) -> "list[dict[str, Any]]":
        """A row for each log: see `report.ledger`."""
        return report.ledger(self)
