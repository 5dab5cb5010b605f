"""A node: topics and their logs, the link to the hub, the clock, and the limits, wired together.

Rule: everything that takes time is a ticket or a deadline; what producers hand over goes straight to the intake. The shell calls `tick`
after any input and at the deadline it returned, and carries frames and tickets. Knows nothing of files, sockets or asyncio.
"""

from . import cbor, report
from .absent import NoDownlink, NoLink, NoTables
from .errors import StorageFull, StreamlineError, UsageError
from .eviction import Evictor
from .hlc import HybridClock
from .intake import Intake
from .log_limits import LogLimits
from .partition import Partition
from .recovery import recover
from .slots import Slots
from .topic import TopicDefinition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

    from .codec import Codecs
    from .compaction import Compactor
    from .config import EdgeConfig
    from .conflict import Merge
    from .consumer import Consumer
    from .downlink import Downlink
    from .expiry import Expiry
    from .gate import Gate
    from .hub_feeds import FeedSource
    from .link import Link
    from .local_consumers import LocalConsumers
    from .log import Log
    from .ports import Buffer, Clock, Entropy, Meter, Storage
    from .resources import ResourceManager
    from .sender import Parting
    from .session import Session
    from .sync_queue import SyncQueue
    from .tables import Tables

STORAGE_ID_BYTES = 8
AS_CONFIGURED, PAUSED, RESUMED = 0, 1, 2  # what an operator has said about sync
RETRY_SLOTS_MS = 5000
MEMORY_WAIT_MS = 100  # until what there was no memory for is tried again
REOPEN_MS = 2000  # how long after a storage failure a log is tried again
FEED_CREDIT_BYTES_MAX = 1 << 20
EVICT_PARTS = 8  # a topic whose queue evicts gives back about so much of what may be owed at once
MEASURED = ("max_memory", "max_cpu_percent", "max_file_descriptors", "max_connections")  # limits that need somebody who measures
MARK_CLOCK = 1  # control batch [1, first offset, next offset, milliseconds to add]


class Node:
    """config: an EdgeConfig; merges: {topic: (its merge module, the hash of that)} where the strategy is custom_merge; meter: what
    tells what the process uses, or None; the rest are the ports. Nothing is read before `open`. tables: what keyed topics show."""

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
        self._partitions: "dict[str, list[Partition]]" = {}
        self._slots = Slots(storage, "node")
        self.storage_id = b""
        self._steered = AS_CONFIGURED
        self._slots_tried_ms = 0
        self._reopen_at_ms: "dict[str, int]" = {}
        self.memory_errors = 0  # how often something was put off, dropped or refused for want of memory
        log = config.log
        self._limits = LogLimits(
            log.segment_bytes, log.batch_bytes, log.buffer_bytes, log.commit_interval_ms, log.producers_max,
            cursor_interval_ms=log.cursor_interval_ms,
        )  # fmt: skip
        self.evictor = Evictor(self, self._limits.budget)
        self._topic_limits: "dict[str, LogLimits]" = {}
        self._resources: "ResourceManager | None" = None
        self._queue: "SyncQueue | None" = None
        self._consumers: "LocalConsumers | None" = None
        intake = self._intake = Intake(self, self._partitions)
        self.produce, self.produce_many, self.delete = intake.produce, intake.produce_many, intake.delete
        self.partition_of, self.producer_last = intake.partition_of, intake.producer_last
        self._expiry: "Expiry | None" = None
        self.link: "Link | None" = None
        self.gate: "Gate | None" = None
        self._compactor: "Compactor | None" = None
        self.tables: "Tables" = NoTables()  # type: ignore[assignment]
        self.downlink: "Downlink" = NoDownlink()  # type: ignore[assignment]

    # Opening and closing

    def open(self) -> None:
        """Recover every log. Raises OSError where the storage cannot be read."""
        config = self.config
        saved = self._slots.load()
        if saved is not None and STORAGE_ID_BYTES <= len(saved) <= STORAGE_ID_BYTES + 1:
            self.storage_id = saved[:STORAGE_ID_BYTES]
            self._steered = saved[STORAGE_ID_BYTES] if len(saved) > STORAGE_ID_BYTES else AS_CONFIGURED
        else:
            fresh = bytearray(STORAGE_ID_BYTES)
            self.entropy.fill(fresh)
            self.storage_id = bytes(fresh)
            self._slots.save(self.storage_id)
        link = self._make_link()
        self._prepare(self._limits, max(link.read_bytes, min(FEED_CREDIT_BYTES_MAX, config.log.buffer_bytes)))
        for name in sorted(self.topics):
            self._open_topic(name, self._limits)
        self.link = link
        self._prepare_times()
        link.paused = not config.sync.enabled if self._steered == AS_CONFIGURED else self._steered == PAUSED
        if any([getattr(config.resources, key) is not None for key in MEASURED]):
            self.resources.opened()
        if config.consumers or self.storage.size("consumers.0") > 0 or self.storage.size("consumers.1") > 0:
            self.consumers.tick(self.clock.monotonic_ms())
        self.limits_changed()

    def _make_link(self) -> "Link":
        try:
            from .link import make_link
        except ImportError:  # an image without edge-sync
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
        for name in self._topic_limits:
            self._topic_limits[name].segment_records = self._segment_records(name)
        if self.link is not None:
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

    def _prepare(self, limits: LogLimits, credit_bytes: int) -> None:
        """Load what the topics need: what none of them needs costs a board no memory."""
        topics = self.topics.values()
        if any([topic.kind == "keyed" for topic in topics]):
            from .tables import Tables

            self.tables = Tables(self, limits)
        if any([topic.direction in ("cloud_to_edge", "bidirectional") for topic in topics]):
            from .downlink import Downlink

            self.downlink = Downlink(self, limits, credit_bytes)

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
        for log in self.every_log():
            log.limits.commit_interval_ms = self.config.log.commit_interval_ms
        self._prepare_times()
        self.limits_changed()
        self._the_link().reconfigured()

    def _open_topic(self, name: str, limits: LogLimits) -> None:
        """Raises UsageError where a merge module is missing."""
        topic = self.topics[name]
        merge, merge_hash = self._merges.get(name, (None, b""))
        definition = TopicDefinition(topic.kind, topic.direction, topic.partitions, topic.strategy, merge_hash, topic.feed_filter)
        node_id = self.config.node_id
        limits = self._topic_limits[name] = limits.cut_after(self._segment_records(name))
        partitions = self._partitions[name] = [
            Partition(node_id, name, i, definition, self.storage, limits, self.clock, self.entropy) for i in range(topic.partitions)
        ]
        if topic.kind == "keyed":
            self.tables.open(name, partitions, definition, merge)
        if definition.down:
            for i in range(topic.partitions):
                self.downlink.take_part(name, i, definition, self.tables.topics[name][i] if topic.kind == "keyed" else None)

    def _segment_records(self, name: str) -> int:
        """Beyond how many records a segment of a topic ends, so that a queue that evicts gives back a part; 0: any number."""
        topic, queue_max = self.topics[name], self.config.sync.max_queue_size
        evicts = topic.queue_full == "evict" and queue_max and topic.direction != "local"
        return max(1, queue_max // EVICT_PARTS) if evicts else 0

    def close(self) -> None:
        """Commit everything and save what is worth it; it is done when `idle`."""
        now_ms = self.clock.monotonic_ms()
        self.downlink.close()
        if self._consumers is not None:
            self._consumers.tick(now_ms)
        for log in self.every_log():
            if log.failure is None:
                try:
                    log.commit()
                except (StorageFull, OSError, MemoryError):
                    pass  # what it could not write was never durable; the other logs are closed all the same
                try:
                    log.save_state(now_ms)
                except MemoryError:
                    pass  # its cursor is behind, and that is all

    @property
    def idle(self) -> bool:
        logs_idle = all([log.idle or log.failure is not None for log in self.every_log()])
        consumers_idle = self._consumers is None or self._consumers.idle
        return logs_idle and not self._slots.ticket and self.downlink.idle and consumers_idle

    def _all(self) -> "Iterator[Partition]":
        for name in sorted(self._partitions):
            for partition in self._partitions[name]:
                yield partition

    def every_log(self) -> "list[Log]":
        """Whoever has tickets and bytes on the storage."""
        own = [log for partition in self._all() for log in partition.all_logs()]
        return own + self.tables.logs() + [log for partition in self.downlink.partitions() for log in partition.all_logs()]

    def logs(self) -> "list[Log]":
        """Every log of what was written here: for each partition its sealed epochs, then the open one."""
        return [log for partition in self._all() for log in partition.logs()]

    def log(self, topic: str, partition: int = 0) -> "Log":
        """The open log of a partition. Raises UsageError if there is no such topic or partition."""
        return self.own(topic, partition).current

    def own(self, topic: str, partition: int) -> Partition:
        """Of what is written here. Raises UsageError if there is no such topic or partition."""
        found = self._partitions.get(topic)
        if found is None:
            raise UsageError("there is no topic %r here; there are: %s" % (topic, ", ".join(sorted(self._partitions)) or "none"))
        if not 0 <= partition < len(found):
            raise UsageError("topic %s has partitions 0 to %d, not %r" % (topic, len(found) - 1, partition))
        return found[partition]

    # Consuming

    def consumer(self, topic: str, partition: int = 0, offset: int = 0) -> "Consumer":
        """Reads a partition from `offset` on; of a topic that flows down to edges only: what the cloud sent, by cloud offset."""
        if self.topics[self.own(topic, partition).topic].direction == "cloud_to_edge":
            return self.feed_consumer(topic, partition, offset)
        from .consumer import Consumer  # a board that only writes does not pay for it

        return Consumer(self.own(topic, partition), offset, bytearray(self.config.log.batch_bytes))

    def feed_consumer(self, topic: str, partition: int = 0, offset: int = 0) -> "Consumer":
        """Reads what the cloud sent for a partition of a topic without keys, from a cloud offset on. Raises UsageError."""
        self.own(topic, partition)
        return self.downlink.consumer(topic, partition, offset, bytearray(self.config.log.batch_bytes))

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
        deadlines = []
        for partition in self._all():
            successor = partition.tick()
            if successor is not None:
                self._the_link().offer(successor)
        for partition in self.downlink.partitions():
            partition.tick()
        for log in self.every_log():
            if log.failure is not None:
                deadlines.append(self._reopen(log, now_ms))
            try:
                deadlines.append(log.tick(now_ms))
            except StorageFull:
                deadlines.append(self._reopen(log, now_ms))
            except MemoryError:  # what it has is kept, and tried again
                self.memory_errors += 1
                deadlines.append(now_ms + MEMORY_WAIT_MS)
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
        if self._slots.stalled:
            if now_ms - self._slots_tried_ms >= RETRY_SLOTS_MS:
                self._slots_tried_ms = now_ms
                self._slots.retry()
            deadlines.append(self._slots_tried_ms + RETRY_SLOTS_MS)
        if self.link is not None:
            if self.gate is not None:
                deadlines.append(self.gate.tick(now_ms))
                self.link.allow(self.gate.open, self.gate.why)
            deadlines.append(self.link.tick())
        waiting = [t for t in deadlines if t >= 0]
        return min(waiting) if waiting else -1

    def _reopen(self, log: "Log", now_ms: int) -> int:
        """After a storage failure: what was not durable is gone (its producers hear of it); the rest is recovered when storage
        works again."""
        at_ms = self._reopen_at_ms.get(log.folder)
        if at_ms is None:
            at_ms = self._reopen_at_ms[log.folder] = now_ms + REOPEN_MS
        elif now_ms >= at_ms:
            del self._reopen_at_ms[log.folder]
            try:
                recover(log, self.entropy)
            except MemoryError as error:
                self.memory_errors += 1
                log.failure = error
            except (OSError, StreamlineError) as error:
                log.failure = error
            return now_ms
        return at_ms

    def synced(self, ticket: int, error: "Exception | None" = None) -> None:
        """The storage completed a ticket."""
        for slots in (self._slots, self._consumers.slots if self._consumers is not None else None):
            if slots is not None and ticket == slots.ticket:
                slots.synced(error)
                return
        if self._compactor is not None and ticket == self._compactor.ticket:
            self._compactor.synced(error)
            return
        for log in self.every_log():
            if log.owns(ticket):
                log.synced(ticket, error)
                return
        self.downlink.synced(ticket, error)

    # What others of the core need of it

    def memory_bytes(self) -> int:
        """That are really used, where somebody measures them; else 0."""
        if self._meter is None:
            return 0
        self._meter.relieve()
        return self._meter.memory_bytes()

    def partitions(self) -> "list[Partition]":
        """All that holds logs: of what is written here, and of what comes down."""
        return list(self._all()) + self.downlink.partitions()

    # The link

    def link_up(self) -> None:
        """The carrier works, both ways."""
        self._the_link().up()

    def link_down(self, reason: str) -> None:
        self._the_link().down(reason)

    def hub_status(self, online: bool, boot: str) -> None:
        """The hub's birth or death was seen."""
        self._the_link().hub_status(online, boot)

    def receive(self, frame: "Buffer") -> None:
        """A frame arrived. Whatever it holds, the node goes on."""
        self._the_link().receive(frame)

    def next_frame(self) -> "bytes | memoryview | None":
        """The next frame to carry, valid until the next call. Ask only while less than one frame waits in the carrier."""
        return self._the_link().next_frame()

    def sync_now(self) -> None:
        self._the_link().sync_now()

    def pause(self) -> None:
        """Send nothing, over restarts too, until `resume`."""
        self._steer(PAUSED, True)

    def resume(self) -> None:
        """Undo `pause`; where sync is not enabled, send all the same, over restarts too."""
        self._steer(AS_CONFIGURED if self.config.sync.enabled else RESUMED, False)

    def _steer(self, steered: int, paused: bool) -> None:
        self._the_link().paused = paused
        if steered != self._steered:
            self._steered = steered
            self._slots.save(self.storage_id + (bytes((steered,)) if steered != AS_CONFIGURED else b""))

    def _the_link(self) -> "Link":
        if self.link is None:
            raise UsageError("the node is not open")
        return self.link

    def offers(self) -> "list[Log]":
        """What a new session offers: every log that is not local. Sealed ones, too: a hub that was restored may need them again."""
        return [log for partition in self._all() if not partition.local for log in partition.logs() if not log.held]

    def hub_opened(self, session: "Session") -> None:
        """A WELCOME came: it may tell the time to a node that has none."""
        from .link import ROUND_TRIP_MS_TRUSTED

        if session.wall_ms is not None and 0 <= session.round_trip_ms < ROUND_TRIP_MS_TRUSTED:
            later_ms = self.clock.learn(session.wall_ms + session.round_trip_ms // 2)
            if later_ms is not None:
                for partition in self._all():
                    log = partition.current
                    if log.next > log.opened_at and log.failure is None:
                        try:
                            log.append_mark(cbor.encode((MARK_CLOCK, log.opened_at, log.next, later_ms)))
                        except StorageFull:
                            pass  # the log notes its own failure; without the mark these stamps stay untrusted, as they are

    def forked(self, log: "Log | FeedSource", parting: "Parting") -> None:
        """The hub holds, or was promised, other content of `log` (a restored disk, a cloned card, a rotten tail)."""
        for partition in self._all():
            if partition.current is log:
                try:
                    partition.fork(partition.current, parting)
                except (StorageFull, OSError):
                    return  # nothing has changed; the hub's next WANT finds it again

    # What it says of itself

    def status(self) -> "dict[str, Any]":
        """JSON-able: see `report.status`."""
        return report.status(self, self._the_link())

    def ledger(self) -> "list[dict[str, Any]]":
        """A row for each log: see `report.ledger`."""
        return report.ledger(self)
