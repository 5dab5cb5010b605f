"""The hub as a replica: what it writes itself, and what it makes of the versions that others bring.

Rule: what is written here goes the way of all that arrives: joined, then committed with what it changes; only then is it sent. Knows
nothing of frames, or of which node is connected.
"""

from .batch import batches, records
from .errors import CorruptRecord, ProtocolError, QueueFull, UsageError
from .hub_streams import StreamRefused
from .hub_writer import HubWriter
from .stream import check_topic
from .tables import check_key
from .topic import KINDS, partition_of
from .version import latest_hlc, seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .codec import Codecs
    from .hlc import HybridClock
    from .hub_commits import CommitQueue
    from .hub_feeds import FeedSource
    from .hub_streams import HubStreams
    from .hub_table import HubTable
    from .hub_writer import Written
    from .ports import Buffer, Clock, Entropy
    from .reconcile import Reconciler
    from .store_ops import ChunkReceived
    from .topic import TopicDefinition

TOMBSTONES_MS = 600000  # how often deletions that may go are looked for
_KEYED = KINDS[1]


class HubProducer:
    """me: the hub's node id; hlc: its clock; streams, table: what it knows; commits: where everything goes."""

    def __init__(
        self,
        me: str,
        clock: "Clock",
        hlc: "HybridClock",
        entropy: "Entropy",
        codecs: "Codecs",
        streams: "HubStreams",
        table: "HubTable",
        commits: "CommitQueue",
    ) -> None:
        self._me = me
        self._clock = clock
        self._hlc = hlc
        self._entropy = entropy
        self._codecs = codecs
        self._streams = streams
        self._table = table
        self._commits = commits
        self._writer: "HubWriter | None" = None
        self._tombstones_at_ms = 0

    def open(self, term: int) -> None:
        """term: of this opening of the hub."""
        self._writer = HubWriter(self._me, term, self._hlc, self._entropy)

    @property
    def writer(self) -> HubWriter:
        """Raises UsageError before the hub is open."""
        if self._writer is None:
            raise UsageError("the hub is not open")
        return self._writer

    def is_keyed(self, topic: str) -> bool:
        definition = self._streams.definition(topic)
        return definition is not None and definition.kind == _KEYED

    def define(self, topic: str, definition: "TopicDefinition") -> None:
        """Define a topic, as the first node that offers it would. Raises UsageError for a name, or a definition that differs from what
        the topic is."""
        check_topic(topic)
        try:
            self._commits.add(self._streams.define(topic, definition))
        except StreamRefused as error:
            raise UsageError(str(error))

    def produce(
        self,
        topic: str,
        value: "Buffer | None",
        key: "Buffer | None" = None,
        headers: "Sequence[tuple[str, Buffer]]" = (),
        timestamp_ms: "int | None" = None,
    ) -> "Written":
        """Write a record to a topic that flows down to edges; value None deletes a key. `Written.done` hears when it is committed.
        Raises UsageError, QueueFull: nothing was taken then."""
        definition = self._streams.definition(topic)
        if definition is None:
            raise UsageError("topic %r is not defined here; define it, or let an edge offer it first" % topic)
        if not definition.down:
            raise UsageError("topic %s flows from edges to the cloud only; nothing is produced to it here" % topic)
        keyed = definition.kind == _KEYED
        checked = check_key(key) if keyed else (bytes(key) if key is not None else None)
        if value is None and not keyed:
            raise UsageError("topic %s is a log: nothing can be deleted from it" % topic)
        partition = partition_of(checked, definition.partitions) if checked is not None else 0
        context = None
        if keyed and checked is not None:
            standing = self._table.siblings((topic, partition, checked))
            self._hlc.observe(latest_hlc(standing))
            context = seen(standing)
        written = self.writer.produce(topic, partition, value, checked, headers, timestamp_ms, context)
        if keyed:
            self.take_written()
        return written

    def take_written(self) -> None:
        """Batches of our own go the way of all others."""
        for op in self.writer.take():
            self._commits.add([op])
            if self.is_keyed(op.stream.topic):
                self.join(op)

    def join(self, op: "ChunkReceived") -> None:
        """What a chunk of a keyed topic, which is on its way to the store, changes of what stands."""
        stream = op.stream
        data = self._codecs.by_id(op.codec_id).decompress(memoryview(op.data), op.raw_bytes)
        heads = self.writer.heads(stream.topic, stream.partition)
        self._commits.add(self._table.take(op, data, heads, self._clock.wall_ms()))

    def take_versions(self, source: "FeedSource", compared: "Reconciler", rolled_back: bool, batch: bytes) -> None:
        """A node found that we have not some versions. Those that we had are superseded, and it is told so. Others are written again as
        they are, in a stream of our own: our store was rolled back, and the node may be the only one that has them. Raises
        ProtocolError."""
        topic, partition = source.place
        try:
            for header, body in batches(batch):
                for record in records(header, body):
                    superseded = self._table.superseded(record, topic, partition)
                    if superseded is not None:
                        compared.tell_gone(record.key or b"", superseded)
                    elif (rolled_back or not source.sends(record)) and not self._table.stands(record, topic, partition):
                        value, headers, timestamp_ms = None if record.tombstone else record.value, record.headers, record.timestamp_ms
                        self.writer.produce(topic, partition, value, record.key, headers, timestamp_ms, None, record.extension)
        except CorruptRecord as error:
            raise ProtocolError("versions that cannot be read: %s" % error)
        except (QueueFull, UsageError):
            pass  # they are found again
        self.take_written()

    def drop_tombstones(self, now_ms: int, older_ms: int) -> None:
        """Deletions that everybody has had time to hear of, `older_ms`, go. Who was away for longer, and still has what was deleted, is
        told when it compares what it holds with what stands here."""
        wall_ms = self._clock.wall_ms()
        if wall_ms is None or now_ms < self._tombstones_at_ms or not self._commits.idle:
            return
        found = [op for op in self._table.tombstones(wall_ms - older_ms) if self._is_compared(op.topic)]
        self._commits.add(found)
        self._tombstones_at_ms = now_ms + (0 if found else TOMBSTONES_MS)

    def _is_compared(self, topic: str) -> bool:
        """Whether nodes compare what they hold of a topic with what stands here: not where each is sent something else."""
        definition = self._streams.definition(topic)
        return definition is not None and not definition.feed_filter
