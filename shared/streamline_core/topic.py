"""A topic's definition, and which partition a key belongs to.

Rule: a definition never changes under a name. Both sides of a session must hold an equal one; it is small enough to
travel whole, so a mismatch is refused by field, not by hash. Knows nothing of logs.
"""

import binascii

from .errors import ProtocolError, UsageError

PARTITIONS_MAX = 1024
KINDS = ("log", "keyed")
DIRECTIONS = ("edge_to_cloud", "cloud_to_edge", "bidirectional", "local")
KEYED = KINDS.index("keyed")
LOCAL = DIRECTIONS.index("local")
STRATEGIES = ("last_write_wins", "first_write_wins", "cloud_wins", "edge_wins", "keep_both", "custom_merge")
CUSTOM_MERGE = STRATEGIES[5]
_FIELDS = ("kind", "direction", "partitions", "strategy", "merge module", "feed filter")
FILTER_CHARS_MAX = 128


class TopicDefinition:
    """kind: one of KINDS; direction: one of DIRECTIONS; partitions: 1 to 1024; strategy: one of STRATEGIES;
    merge_hash: the first 8 bytes of the SHA-256 of the merge module, or empty; feed_filter: a pattern of the keys that a node is sent, ""
    for all (feed_filter.py). Raises UsageError for anything else."""

    def __init__(
        self,
        kind: str = "log",
        direction: str = "edge_to_cloud",
        partitions: int = 1,
        strategy: str = "last_write_wins",
        merge_hash: bytes = b"",
        feed_filter: str = "",
    ) -> None:
        if kind not in KINDS or direction not in DIRECTIONS or strategy not in STRATEGIES:
            raise UsageError("topic definition %r, %r, %r is not known" % (kind, direction, strategy))
        if not isinstance(partitions, int) or not 1 <= partitions <= PARTITIONS_MAX or len(merge_hash) not in (0, 8):
            raise UsageError("partitions must be 1 to %d, not %r; a merge hash has 8 bytes" % (PARTITIONS_MAX, partitions))
        if len(feed_filter) > FILTER_CHARS_MAX:
            raise UsageError("a feed filter of %d characters; at most %d are allowed" % (len(feed_filter), FILTER_CHARS_MAX))
        self.feed_filter = feed_filter
        self.kind = kind
        self.direction = direction
        self.partitions = partitions
        self.strategy = strategy
        self.merge_hash = merge_hash

    @property
    def up(self) -> bool:
        """Whether edges write it, and the cloud takes that."""
        return self.direction in ("edge_to_cloud", "bidirectional")

    @property
    def down(self) -> bool:
        """Whether the cloud sends it to edges."""
        return self.direction in ("cloud_to_edge", "bidirectional")

    def to_wire(self) -> "tuple[object, ...]":
        """The definition as CBOR carries it: indexes into the tables above, so their order never changes."""
        wire: "tuple[object, ...]" = (
            KINDS.index(self.kind),
            DIRECTIONS.index(self.direction),
            self.partitions,
            STRATEGIES.index(self.strategy),
            self.merge_hash,
        )
        return wire + (self.feed_filter,) if self.feed_filter else wire

    def difference(self, other: "TopicDefinition") -> "str | None":
        """The first field in which two definitions differ, as `name: mine, theirs`; None if they are equal."""
        mine = (self.kind, self.direction, self.partitions, self.strategy, self.merge_hash, self.feed_filter)
        theirs = (other.kind, other.direction, other.partitions, other.strategy, other.merge_hash, other.feed_filter)
        for i in range(len(mine)):
            if mine[i] != theirs[i]:
                return "%s: %r here, %r there" % (_FIELDS[i], mine[i], theirs[i])
        return None


def definition_from_wire(value: object) -> TopicDefinition:
    """Raises ProtocolError unless `value` is what `to_wire` gives, as a list or a tuple."""
    if isinstance(value, (list, tuple)) and 5 <= len(value) <= 6:
        kind, direction, partitions, strategy, merge_hash = value[:5]
        feed_filter = value[5] if len(value) == 6 else ""
        if not isinstance(feed_filter, str) or len(feed_filter) > FILTER_CHARS_MAX:
            raise ProtocolError("not a topic definition: %r" % (value,))
        if type(kind) is int and type(direction) is int and type(strategy) is int and type(partitions) is int:
            if 0 <= kind < len(KINDS) and 0 <= direction < len(DIRECTIONS) and 0 <= strategy < len(STRATEGIES):
                if isinstance(merge_hash, bytes) and len(merge_hash) in (0, 8) and 1 <= partitions <= PARTITIONS_MAX:
                    return TopicDefinition(KINDS[kind], DIRECTIONS[direction], partitions, STRATEGIES[strategy], merge_hash, feed_filter)
    raise ProtocolError("not a topic definition: %r" % (value,))


def partition_of(key: bytes, partitions: int) -> int:
    """CRC-32 of the key modulo the partition count: the same on every node, for ever."""
    return binascii.crc32(key) % partitions
