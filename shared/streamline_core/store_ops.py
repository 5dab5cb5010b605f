"""What a hub asks its store to commit: one transaction is a list of these.

Rule: an op carries all that the store needs, so that a store never looks into a batch. A store applies the
ops of one commit in order and all together, assigns cloud offsets per (topic, partition) to chunks in that order, and forgets
nothing that it reported as committed.
"""

from .gaps import STORAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .stream import StreamId


class StreamState:
    """What a receiver durably knows of one stream.

    next: the watermark; below it all is applied or lost. lost: {cause: offsets}. produced: the sender's durable end as of
    its last HAVE. lineage: [(term, first offset)] of all that was produced, as far as it is known, oldest first. closed: the
    origin no longer holds the epoch, or has sealed it below its end; what was pending counts as lost by `storage`.
    """

    def __init__(self) -> None:
        self.next = 0
        self.produced = 0
        self.lost: "dict[str, int]" = {}
        self.lineage: "list[tuple[int, int]]" = []
        self.closed = False

    def copy(self) -> "StreamState":
        twin = StreamState()
        twin.next, twin.produced, twin.closed = self.next, self.produced, self.closed
        twin.lost, twin.lineage = dict(self.lost), list(self.lineage)
        return twin


def loss_of(next_: int, produced: int, lost: "dict[str, int]", closed: bool) -> "dict[str, int]":
    """All that is lost of a stream, by cause: what a closed epoch still owed is lost by `storage`. Arguments as in StreamState."""
    total = dict(lost)
    if closed and produced > next_:
        total[STORAGE] = total.get(STORAGE, 0) + produced - next_
    return total


class Op:
    """Base of all ops; `state` (where there is a stream) is a copy of the stream's state after this op."""


class NodeSeen(Op):
    def __init__(self, node: str, storage_id: bytes, version: str) -> None:
        self.node, self.storage_id, self.version = node, storage_id, version


class TopicDefined(Op):
    """First sight of a topic: its definition, as it came."""

    def __init__(self, topic: str, definition: "tuple[object, ...]") -> None:
        self.topic, self.definition = topic, definition


class StreamChanged(Op):
    """Only the state moved: a new HAVE, or the epoch was closed or offered again."""

    def __init__(self, stream: "StreamId", state: StreamState) -> None:
        self.stream, self.state = stream, state


class FeedChunk:
    """A committed chunk as a feed needs it: its records have cloud offsets [cloud_offset, cloud_offset + count); the rest as in
    ChunkReceived, and whose it is."""

    def __init__(
        self, cloud_offset: int, count: int, first: int, next_: int, origin: str, epoch: int, codec_id: int, raw_bytes: int, data: bytes
    ) -> None:
        self.cloud_offset, self.count, self.first, self.next = cloud_offset, count, first, next_
        self.origin, self.epoch = origin, epoch
        self.codec_id, self.raw_bytes, self.data = codec_id, raw_bytes, data


class FeedVersion:
    """A committed version that stands, as a feed needs it. record: the whole record, encoded with neither an offset nor a time before it
    (`record.encode_record` with zeros), its extension that of a carried version."""

    def __init__(self, cloud_offset: int, key: bytes, origin: str, epoch: int, offset: int, demoted: bool, record: bytes) -> None:
        self.cloud_offset, self.key = cloud_offset, key
        self.origin, self.epoch, self.offset = origin, epoch, offset
        self.demoted, self.record = demoted, record


class VersionStands:
    """A record of a chunk of a keyed topic that nothing supersedes. index: which of the chunk's records; dot: whose; extension: as of a
    carried version; record, demoted: as in FeedVersion; deleted: whether it is a tombstone; superseded: dots that stood before;
    arrived_ms: when, since 1970 UTC."""

    def __init__(
        self,
        index: int,
        key: bytes,
        dot: "tuple[str, int, int]",
        extension: bytes,
        record: bytes,
        deleted: bool,
        demoted: bool,
        superseded: "list[tuple[str, int, int]]",
        arrived_ms: int,
    ) -> None:
        self.index, self.key, self.dot = index, key, dot
        self.extension, self.record = extension, record
        self.deleted, self.demoted, self.superseded = deleted, demoted, superseded
        self.arrived_ms = arrived_ms


class TombstoneDropped(Op):
    """A deletion that everybody has had time to hear of stands no longer."""

    def __init__(self, topic: str, partition: int, dot: "tuple[str, int, int]") -> None:
        self.topic, self.partition, self.dot = topic, partition, dot


class ClockMarked(Op):
    """A node has learned the time: its untrusted stamps of offsets [first, next) of a stream were `later_ms` milliseconds too early."""

    def __init__(self, stream: "StreamId", first: int, next_: int, later_ms: int) -> None:
        self.stream, self.first, self.next, self.later_ms = stream, first, next_, later_ms


class HubOpened(Op):
    """A hub has opened the store: cloud offsets that are given out from now on are of this term."""

    def __init__(self, term: int) -> None:
        self.term = term


class FeedConfirmed(Op):
    """A node durably has a feed below this cloud offset."""

    def __init__(self, node: str, topic: str, partition: int, next_: int) -> None:
        self.node, self.topic, self.partition, self.next = node, topic, partition, next_


class VersionRefused(Op):
    """A record of a chunk that cannot be a version of its key; it stays in its chunk, and counts for nothing."""

    def __init__(self, stream: "StreamId", offset: int, record: bytes, why: str) -> None:
        self.stream, self.offset, self.record, self.why = stream, offset, record, why


class ChunkReceived(Op):
    """Whole batches as they came.

    data: the batches, compressed by codec `codec_id` (0 = none) from `raw_bytes` bytes. Offsets [first, next) of the
    stream; `count` records lie in them (control batches and what compaction dropped do not count). Offsets below `first`
    that the batches may hold were applied before and are to be skipped by readers. `count` cloud offsets are assigned. versions: of a
    keyed topic, what of it stands, in order.
    """

    def __init__(
        self, stream: "StreamId", state: StreamState, first: int, next_: int, count: int, codec_id: int, raw_bytes: int, data: bytes
    ) -> None:
        self.stream, self.state = stream, state
        self.first, self.next, self.count = first, next_, count
        self.codec_id, self.raw_bytes, self.data = codec_id, raw_bytes, data
        self.versions: "list[VersionStands]" = []


class GapReceived(Op):
    """Offsets [first, next) are lost, by `cause`."""

    def __init__(self, stream: "StreamId", state: StreamState, first: int, next_: int, cause: str) -> None:
        self.stream, self.state = stream, state
        self.first, self.next, self.cause = first, next_, cause


class BatchQuarantined(Op):
    """A valid batch that this build can never apply, kept for people to look at; a GapReceived("refused") follows."""

    def __init__(self, stream: "StreamId", state: StreamState, first: int, next_: int, data: bytes, why: str) -> None:
        self.stream, self.state = stream, state
        self.first, self.next, self.data, self.why = first, next_, data, why
