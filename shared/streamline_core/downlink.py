"""What a node takes from its hub: one feed for each partition of a topic that flows down.

Rule: a hub may offer feeds of what this node has defined alike, and nothing else; of each, no more is under way than its log may buffer.
Knows nothing of frames, nor of what a feed does with what arrives.
"""

from . import reconcile
from .consumer import Consumer
from .credit import CreditPool
from .errors import ProtocolError, UsageError
from .feed import FEED, FeedReceiver
from .handshake import HUB
from .keyed_feed import KeyedFeed
from .log_feed import LogFeed
from .partition import Partition
from .stream import StreamId
from .topic import TopicDefinition, definition_from_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

    from .feed import Feed
    from .keyed import KeyedPartition
    from .log_limits import LogLimits
    from .node import Node
    from .receiver import StreamReceiver
    from .reconcile import Dot
    from .session import Session
    from .store_ops import Op

NOT_OURS = "feed"


class TableReplica:
    """What this node holds of a keyed partition."""

    def __init__(self, keyed: "KeyedPartition") -> None:
        self._keyed = keyed
        self.count = keyed.table.__len__
        self.root = keyed.table.root
        self.entries = keyed.table.entries
        self.bodies = keyed.bodies


class Downlink:
    """credit_bytes: of each feed. feeds: by (topic, partition)."""

    def __init__(self, node: "Node", limits: "LogLimits", credit_bytes: int) -> None:
        self.feeds: "dict[tuple[str, int], Feed]" = {}
        self._definitions: "dict[str, TopicDefinition]" = {}
        self._node = node
        self._me = node.config.node_id
        self._limits = limits
        self._credit_bytes = credit_bytes

    def take_part(self, topic: str, number: int, definition: TopicDefinition, keyed: "KeyedPartition | None") -> None:
        """Take the feed of a partition. keyed: where its versions go."""
        node = self._node
        self._definitions[topic] = definition
        if keyed is not None:
            self.feeds[topic, number] = KeyedFeed(topic, number, node.evictor.room, keyed, node.storage, self._me)
            return
        local = TopicDefinition("log", "local", definition.partitions)
        partition = Partition(FEED, topic, number, local, node.storage, self._limits, node.clock, node.entropy)
        self.feeds[topic, number] = LogFeed(topic, number, node.evictor.room, partition)

    def _sorted(self) -> "Iterator[Feed]":
        for key in sorted(self.feeds):
            yield self.feeds[key]

    def partitions(self) -> "list[Partition]":
        """Those that hold what feeds brought."""
        return [feed.partition for feed in self._sorted() if isinstance(feed, LogFeed)]

    def feed_partition(self, topic: str, number: int) -> Partition:
        """Where the feed of a topic without keys is kept. Raises UsageError where there is none."""
        feed = self.feeds.get((topic, number))
        if not isinstance(feed, LogFeed):
            raise UsageError("topic %s has no feed that can be read in order; a keyed one is asked for its keys" % topic)
        return feed.partition

    def consumer(self, topic: str, number: int, offset: int, buf: bytearray) -> Consumer:
        """Reads the feed of a topic without keys from a cloud offset on. Raises UsageError where there is none."""
        return Consumer(self.feed_partition(topic, number), offset, buf, True)

    # What a session reports

    def offered(self, session: "Session", row: "Any") -> "StreamReceiver | None":
        """The hub offers a feed."""
        handle, _, _, _, topic, number, origin, _, definition = row[:9]
        feed = self.feeds.get((topic, number))
        peer = session.peer
        if feed is None or peer is None or peer.role != HUB or origin != peer.node_id:
            session.error(NOT_OURS, "%s takes no feed of topic %r from %s" % (self._me, topic, origin), 0, handle)
            return None
        why = self._definitions[topic].difference(definition_from_wire(definition))
        if why is not None:
            session.error(NOT_OURS, "topic %r: %s" % (topic, why), 0, handle)
            return None
        if feed.receiver is not None and feed.receiver.session is session:
            raise ProtocolError("a HAVE that offers one feed twice")
        if feed.receiver is None:
            feed.receiver = FeedReceiver(StreamId(origin, topic, number, row[7]), feed.state(), CreditPool(self._credit_bytes), feed)
            if isinstance(feed, LogFeed):
                feed.stand()
        feed.receiver.stream = StreamId(origin, topic, number, row[7])
        feed.receiver.session = session
        if isinstance(feed, KeyedFeed):
            feed.receiver.bases = feed.keyed.value_of
            if not self._definitions[topic].feed_filter:
                reconcile.begin(session, handle, TableReplica(feed.keyed))
        return feed.receiver

    def arrived(self, receiver: "StreamReceiver", ops: "list[Op]") -> None:
        if isinstance(receiver, FeedReceiver):
            receiver.feed.arrived(ops)

    def versions(self, receiver: "StreamReceiver", batch: bytes, gone: "list[tuple[bytes, Dot]]") -> None:
        """The hub found that we have not some versions, and that some that we have stand no longer. Raises ProtocolError."""
        if isinstance(receiver, FeedReceiver) and isinstance(receiver.feed, KeyedFeed):
            receiver.feed.take_versions(batch, gone)

    def ended(self) -> None:
        """There is no session any more."""
        for feed in self._sorted():
            if feed.receiver is not None:
                feed.receiver.session = None
                feed.receiver.window.close()
                feed.receiver.handle = -1

    # Time and tickets

    def tick(self, now_ms: int) -> "list[int]":
        """Confirm what has become durable, keep cursors. Returns when to come again."""
        deadlines = []
        for feed in self._sorted():
            receiver = feed.receiver
            if feed.blocked:
                deadlines.append(feed.unblock(now_ms))
            news = feed.settle() or (receiver is not None and receiver.holds_back and feed.ready)
            if news and receiver is not None and receiver.session is not None:
                receiver.session.want(receiver)
            if isinstance(feed, KeyedFeed):
                deadlines.append(feed.save(now_ms))
                if feed.settled and receiver is not None and receiver.session is not None:
                    compared = receiver.session.reconcilers
                    if compared is not None and receiver.handle in compared.by_handle:
                        if feed.keyed.lost:  # the hub may have it still
                            feed.keyed.lost = False
                            compared.by_handle[receiver.handle].changed()
                        deadlines.append(compared.by_handle[receiver.handle].due(now_ms))
        return deadlines

    def synced(self, ticket: int, error: "Exception | None") -> bool:
        """Whether the ticket was of a cursor."""
        for feed in self._sorted():
            if isinstance(feed, KeyedFeed) and feed.slots.ticket == ticket:
                feed.slots.synced(error)
                return True
        return False

    @property
    def idle(self) -> bool:
        return not any([feed.slots.ticket for feed in self._sorted() if isinstance(feed, KeyedFeed)])

    def close(self) -> None:
        for feed in self._sorted():
            if isinstance(feed, KeyedFeed):
                feed.save(1 << 60)

    def _why_not_offered(self, feed: "Feed") -> str:
        """Why the hub does not take part in the topic with us: it meant another one, say."""
        session = self._node.link.session
        if session is not None:
            for sender in session.outlet.senders.values():
                if sender.refused and (sender.log.stream.topic, sender.log.stream.partition) == (feed.topic, feed.number):
                    return sender.refused
        return ""

    def status(self) -> "list[dict[str, Any]]":
        """A row for each feed. pending: what the hub has and we have not; refused: versions and batches that could not be applied."""
        return [
            {
                "topic": feed.topic,
                "partition": feed.number,
                "next": feed.next,
                "pending": feed.receiver.ahead.produced - feed.next if feed.receiver is not None else 0,
                "refused": feed.refused,
                "why": self._why_not_offered(feed) or feed.why_waiting or feed.why_refused,
            }
            for feed in self._sorted()
        ]
