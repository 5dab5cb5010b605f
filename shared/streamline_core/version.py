"""Versions of a key: what several nodes wrote, what each of them had seen, and which of it still stands.

Rule: only what its writer had seen supersedes a version, never a clock; what nobody has superseded stands side by side (the siblings).
Joining two sets of siblings is commutative, associative and idempotent, so replicas that have heard the same hold the same. Source:
Preguica, Baquero, Almeida, Fonte, Goncalves, "Dotted Version Vectors" (2010). Knows nothing of logs, or of which sibling is shown.
"""

from .batch import OFFSET_MAX
from .errors import CorruptRecord, ProtocolError, UsageError
from .record import get_varint, put_varint
from .stream import EPOCH_MAX, NODE_ID_CHARS_MAX, check_node_id
from .utf8 import decode_utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Sequence

    from .ports import Buffer

    Context = dict[tuple[str, int], int]  # (origin, epoch): the offset after the last one of it that was seen

SIDES = ("edge", "cloud")
WRITERS_MAX = 16  # in one context
_LAYOUT = 1


class Version:
    """One write of a key. origin, epoch, offset: its dot, which names it everywhere; side: one of SIDES, where it was written; hlc,
    trusted: its stamp; context: what its writer had seen of the key; value: bytes, or None where the key was deleted."""

    def __init__(
        self, origin: str, epoch: int, offset: int, side: str, hlc: int, trusted: bool, context: "Context", value: "bytes | None"
    ) -> None:
        self.origin = origin
        self.epoch = epoch
        self.offset = offset
        self.side = side
        self.hlc = hlc
        self.trusted = trusted
        self.context = context
        self.value = value

    @property
    def dot(self) -> "tuple[str, int, int]":
        return self.origin, self.epoch, self.offset

    @property
    def order(self) -> "tuple[bool, int, str, int, int]":
        """Larger for what counts as later, on every replica alike: a clock that was set before one that was not, then the stamp."""
        return self.trusted, self.hlc, self.origin, self.epoch, self.offset

    def __repr__(self) -> str:
        return "%s/%08x@%d" % self.dot


def supersedes(one: Version, other: Version) -> bool:
    """Whether the writer of `one` had seen `other`. Everybody has seen what he wrote before."""
    if one.origin == other.origin and one.epoch == other.epoch:
        return one.offset > other.offset
    return one.context.get((other.origin, other.epoch), 0) > other.offset


def join(*replicas: "Iterable[Version]") -> "list[Version]":
    """The siblings of what the replicas hold together, the earliest first."""
    found = {}
    for versions in replicas:
        for version in versions:
            found[version.dot] = version
    versions = list(found.values())
    siblings = [one for one in versions if not any([supersedes(other, one) for other in versions])]
    siblings.sort(key=_order)
    return siblings


def _order(version: Version) -> "tuple[bool, int, str, int, int]":
    return version.order


def seen(siblings: "Sequence[Version]") -> "Context":
    """What the next write on top of these siblings (as `join` gives them) has to say that it has seen: at most WRITERS_MAX writers. Where
    there are more, those of whom nothing stands any more are left out first; at worst something superseded comes to stand beside it again,
    and nothing is lost."""
    context: "Context" = {}
    for version in siblings:
        for writer in version.context:
            context[writer] = max(version.context[writer], context.get(writer, 0))
        own = (version.origin, version.epoch)
        context[own] = max(version.offset + 1, context.get(own, 0))
    if len(context) > WRITERS_MAX:
        latest = {}  # of each writer of whom something stands; the siblings come in this order
        for i in range(len(siblings)):
            latest[siblings[i].origin, siblings[i].epoch] = i
        writers = sorted(context, key=lambda writer: (latest.get(writer, -1), writer))
        for writer in writers[: len(writers) - WRITERS_MAX]:
            del context[writer]
    return context


def why_unsound(version: Version, me: str, heads: "Context") -> "str | None":
    """Why a version cannot be what a sound node wrote: it claims to have seen itself, or what `me` (whose logs end at `heads`) has never
    written. None if nothing speaks against it. Such a one would supersede what is still to be written."""
    for origin, epoch in version.context:
        next_ = version.context[origin, epoch]
        if origin == version.origin and epoch == version.epoch and next_ > version.offset:
            return "%r claims to have seen its own writer up to offset %d" % (version, next_)
        head = heads.get((origin, epoch), 0)
        if origin == me and next_ > head:
            return "%r claims to have seen offset %d of %s/%08x, which ends at %d" % (version, next_ - 1, me, epoch, head)
    return None


def pack_context(side: str, context: "Context") -> bytes:
    """Side and context as a record's extension: layout (1), side, count, then origin, epoch and next of each writer, all numbers LEB128."""
    out = bytearray((_LAYOUT, SIDES.index(side)))
    put_varint(out, len(context))
    for origin, epoch in sorted(context):
        name = origin.encode()
        put_varint(out, len(name))
        out += name
        put_varint(out, epoch)
        put_varint(out, context[origin, epoch])
    return bytes(out)


def parse_context(data: "Buffer") -> "tuple[str, Context]":
    """What `pack_context` gave; what a later build appends is passed over. Raises CorruptRecord."""
    end = len(data)
    if end < 3 or data[0] != _LAYOUT or data[1] >= len(SIDES):
        raise CorruptRecord("a version without a context that this build can read")
    count, at = get_varint(data, 2, end)
    if count > WRITERS_MAX:
        raise CorruptRecord("a version that has seen %d writers; at most %d are allowed" % (count, WRITERS_MAX))
    context: "Context" = {}
    for _ in range(count):
        size, at = get_varint(data, at, end)
        if not 0 < size <= NODE_ID_CHARS_MAX or at + size > end:
            raise CorruptRecord("a context with a name of %d bytes" % size)
        try:
            origin = decode_utf8(bytes(data[at : at + size]))
            check_node_id(origin)
        except (ProtocolError, UsageError) as error:
            raise CorruptRecord("a context that names no writer: %s" % error)
        epoch, at = get_varint(data, at + size, end)
        next_, at = get_varint(data, at, end)
        if epoch > EPOCH_MAX or not 0 < next_ <= OFFSET_MAX or (origin, epoch) in context:
            raise CorruptRecord("a context with offset %d of epoch %d" % (next_, epoch))
        context[origin, epoch] = next_
    return SIDES[data[1]], context
