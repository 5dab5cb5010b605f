"""The streams that a hub takes: which it knows, how their topics are defined, how many a node may have, who holds credit.

Rule: a stream's state is what the store last committed; a topic is what it was first defined to be, and whoever means another one is
refused by the field that differs. What the store has to note comes back as ops. Knows nothing of sessions or frames.
"""

from .credit import WINDOW_BYTES_MIN, CreditPool
from .errors import ProtocolError, StreamlineError, UsageError
from .receiver import StreamReceiver
from .store_ops import StreamState, TopicDefined
from .stream import EPOCH_MAX, StreamId, check_topic
from .topic import DIRECTIONS, LOCAL, definition_from_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ports import Store
    from .store_ops import Op
    from .topic import TopicDefinition

    StreamKey = tuple[str, str, int, int]

IDLE_MS = 10000  # after which a stream's credit goes back to the pool
STREAMS_PER_NODE_MAX = 4096  # in mind at once; each is some hundred bytes
NOT_A_DEFINITION = "definition"
TOO_MANY = "streams"
RETRY_AWAY_MS = 60000


class StreamRefused(StreamlineError):
    """code: as an ERROR names it; away_ms: when to offer it again, 0: as it is, never."""

    def __init__(self, code: str, text: str, away_ms: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.away_ms = away_ms


class HubStreams:
    """store: what is committed; credit_bytes: of all streams together; topics: definitions by name, or None to take up a topic as the
    first node defines it. receivers: those in mind, by stream key."""

    def __init__(self, store: "Store", credit_bytes: int, topics: "dict[str, TopicDefinition] | None") -> None:
        self.receivers: "dict[StreamKey, StreamReceiver]" = {}
        self.pool = CreditPool(credit_bytes)
        self._store = store
        self._given = topics
        self._topics: "dict[str, TopicDefinition]" = {}
        self._by_node: "dict[str, dict[StreamKey, StreamReceiver]]" = {}

    def offered(
        self, origin: str, topic: str, partition: int, epoch: int, definition: object, held: "list[int] | None"
    ) -> "tuple[StreamReceiver, list[Op]]":
        """Its own stream that a node offers, with the other epochs that it still holds (None: it does not say). Returns its receiver and
        what the store has to note. Raises StreamRefused; ProtocolError for an epoch of more than 32 bits."""
        if epoch > EPOCH_MAX:
            raise ProtocolError("a HAVE with epoch %d, which is no number of 32 bits" % epoch)
        ops = self._define(topic, partition, definition)
        stream = StreamId(origin, topic, partition, epoch)
        if stream.key() not in self.receivers and not self._has_room(origin):
            text = "%s offers more than %d streams" % (origin, STREAMS_PER_NODE_MAX)
            raise StreamRefused(TOO_MANY, text + ": a node that is wiped again and again fills up its name", RETRY_AWAY_MS)
        if held is not None:  # a carrier does not know
            ops = ops + self._close_others(stream, held)
        return self._receiver(stream), ops

    def get(self, stream: StreamId) -> "StreamReceiver | None":
        """A stream that is in mind."""
        return self.receivers.get(stream.key())

    def forget(self) -> None:
        """Nothing is in mind any more: the store says where everything stands."""
        self.receivers = {}
        self._by_node = {}
        self._topics = {}

    def _has_room(self, origin: str) -> bool:
        """Whether another stream of a node may be kept in mind; forgets those that no session offers and that owe the store nothing."""
        streams = self._by_node.get(origin, {})
        if len(streams) >= STREAMS_PER_NODE_MAX:
            for key in [key for key in streams if streams[key].handle < 0 and streams[key].settled]:
                del streams[key], self.receivers[key]
        return len(streams) < STREAMS_PER_NODE_MAX

    def _define(self, topic: str, partition: int, wire: object) -> "list[Op]":
        """Take up or compare a topic's definition. Raises StreamRefused."""
        try:
            check_topic(topic)
            theirs = definition_from_wire(wire)
        except (UsageError, ProtocolError) as error:
            raise _not_defined(topic, str(error))
        if partition >= theirs.partitions:
            raise _not_defined(topic, "partition %d of %d" % (partition, theirs.partitions))
        if theirs.direction == DIRECTIONS[LOCAL]:
            raise _not_defined(topic, "a local topic never leaves its node")
        return self.define(topic, theirs)

    def definition(self, topic: str) -> "TopicDefinition | None":
        """What a topic was defined to be; None where nobody has yet."""
        mine = self._topics.get(topic)
        if mine is None:
            known = self._store.load_topic(topic)
            mine = definition_from_wire(known) if known is not None else None
            if mine is None and self._given is not None:
                mine = self._given.get(topic)
            if mine is not None:
                self._topics[topic] = mine
        return mine

    def define(self, topic: str, definition: "TopicDefinition") -> "list[Op]":
        """Take up a topic, or compare it with what it is. Returns what the store has to note. Raises StreamRefused."""
        mine = self.definition(topic)
        if mine is None:
            if self._given is not None:
                raise _not_defined(topic, "this hub does not take it; it takes: %s" % ", ".join(sorted(self._given)))
            self._topics[topic] = definition
            return [TopicDefined(topic, definition.to_wire())]
        why = mine.difference(definition)
        if why is not None:
            raise _not_defined(topic, why)
        return []

    def _receiver(self, stream: StreamId) -> StreamReceiver:
        receiver = self.receivers.get(stream.key())
        if receiver is None:
            state = self._store.load_stream(stream)
            receiver = StreamReceiver(stream, state or StreamState(), self.pool)
            self.receivers[stream.key()] = receiver
            self._by_node.setdefault(stream.origin, {})[stream.key()] = receiver
        return receiver

    def _close_others(self, stream: StreamId, held: "list[int]") -> "list[Op]":
        """Epochs of this (topic, partition) that their origin no longer holds owe nothing any more: what was pending is lost."""
        known = set(self._store.load_epochs(stream.origin, stream.topic, stream.partition))
        for key in self._by_node.get(stream.origin, {}):
            if key[:3] == (stream.origin, stream.topic, stream.partition):
                known.add(key[3])
        ops: "list[Op]" = []
        for epoch in sorted(known):
            if epoch != stream.epoch and epoch not in held:
                op = self._receiver(StreamId(stream.origin, stream.topic, stream.partition, epoch)).close()
                if op is not None:
                    ops.append(op)
        return ops

    def sweep(self, now_ms: int) -> "list[StreamReceiver]":
        """Credit that nobody uses goes back to the pool, at once if somebody got none. Returns who got none and may have some now."""
        short, self.pool.short = self.pool.short, False
        starved = []
        for key in sorted(self.receivers):
            receiver = self.receivers[key]
            if receiver.window.size:
                if receiver.settled and (now_ms - receiver.last_data_ms >= IDLE_MS or (short and not receiver.pending)):
                    receiver.window.close()
            elif short and receiver.pending:
                starved.append(receiver)
        return starved[: (self.pool.total - self.pool.granted) // max(1, min(WINDOW_BYTES_MIN, self.pool.total))]


def _not_defined(topic: str, why: str) -> StreamRefused:
    return StreamRefused(NOT_A_DEFINITION, "topic %r: %s" % (topic, why))
