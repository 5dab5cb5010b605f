"""What the record of a version carries beside key and value: where it was written, what its writer had seen, and, in another log than its
writer's, who that was and when.

Rule: any bytes at all give an Extension or a CorruptRecord; what a later build appends is passed over. The layout is docs/FORMAT.md.
Knows nothing of logs or of which version stands.
"""

import struct

from .batch import OFFSET_MAX
from .errors import CorruptRecord, ProtocolError, UsageError
from .record import get_varint
from .record_encoder import put_varint
from .stream import NODE_ID_CHARS_MAX, check_node_id
from .utf8 import decode_utf8
from .version import SIDES, WRITERS_MAX, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ports import Buffer
    from .record import Record
    from .version import Context

OWN = 1  # in its writer's log: dot and stamp are the record's
CARRIED = 2  # in another log
CLOUD_SIDE = 1
UNTRUSTED = 2
DEMOTED = 4


class Extension:
    """flags: CLOUD_SIDE, UNTRUSTED, DEMOTED; writer, offset, hlc: of a carried version, else None, -1, 0; seen: [(writer, next offset)].
    A writer is packed: see `writer_of`."""

    def __init__(self, flags: int, writer: "bytes | None", offset: int, hlc: int, seen: "list[tuple[bytes, int]]") -> None:
        self.flags = flags
        self.writer = writer
        self.offset = offset
        self.hlc = hlc
        self.seen = seen


def pack_writer(origin: str, epoch: int) -> bytes:
    """A length of one byte, the origin, the epoch in 4 bytes."""
    name = origin.encode()
    return bytes((len(name),)) + name + struct.pack("<I", epoch)


def writer_of(packed: bytes) -> "tuple[str, int]":
    """(origin, epoch). Raises CorruptRecord where that is no name of a node."""
    try:
        origin = decode_utf8(packed[1:-4])
        check_node_id(origin)
    except (ProtocolError, UsageError) as error:
        raise CorruptRecord("a version whose writer has no name: %s" % error)
    return origin, struct.unpack_from("<I", packed, len(packed) - 4)[0]


def pack_own(side: str, context: "Context") -> bytes:
    """The extension of a version in the log of its writer."""
    out = bytearray((OWN, CLOUD_SIDE if side == SIDES[1] else 0))
    _put_context(out, context)
    return bytes(out)


def pack_carried(version: Version) -> bytes:
    """The extension of a version in another log than its writer's."""
    flags = CLOUD_SIDE if version.side == SIDES[1] else 0
    flags |= (0 if version.trusted else UNTRUSTED) | (DEMOTED if version.demoted else 0)
    out = bytearray((CARRIED, flags))
    out += pack_writer(version.origin, version.epoch)
    put_varint(out, version.offset)
    out += struct.pack("<Q", version.hlc)
    _put_context(out, version.context)
    return bytes(out)


def _put_context(out: bytearray, context: "Context") -> None:
    put_varint(out, len(context))
    for origin, epoch in sorted(context):
        out += pack_writer(origin, epoch)
        put_varint(out, context[origin, epoch])


def parse_extension(data: "Buffer") -> Extension:
    """Raises CorruptRecord. That the names in it are names is seen to by `writer_of`, once for each that is new."""
    end = len(data)
    if end < 3 or data[0] not in (OWN, CARRIED):
        raise CorruptRecord("a version without what this build has to know of it")
    flags = data[1]
    writer, offset, hlc, at = None, -1, 0, 2
    if data[0] == CARRIED:
        writer, at = _get_writer(data, at, end)
        offset, at = get_varint(data, at, end)
        if at + 8 > end or offset > OFFSET_MAX:
            raise CorruptRecord("a carried version without its dot")
        hlc = struct.unpack_from("<Q", data, at)[0]
        at += 8
    count, at = get_varint(data, at, end)
    if count > WRITERS_MAX:
        raise CorruptRecord("a version that has seen %d writers; at most %d are allowed" % (count, WRITERS_MAX))
    seen = []
    for _ in range(count):
        name, at = _get_writer(data, at, end)
        next_, at = get_varint(data, at, end)
        if not 0 < next_ <= OFFSET_MAX:
            raise CorruptRecord("a version that has seen %d offsets of a writer" % next_)
        seen.append((name, next_))
    return Extension(flags, writer, offset, hlc, seen)


def _get_writer(data: "Buffer", at: int, end: int) -> "tuple[bytes, int]":
    size = 5 + (data[at] if at < end else 0)
    if not 5 < size <= 5 + NODE_ID_CHARS_MAX or at + size > end:
        raise CorruptRecord("a version that names no writer")
    return bytes(data[at : at + size]), at + size


def moved(extension: bytes, origin: str, epoch: int, seal: int, successor: int) -> bytes:
    """The extension of an own version when a fork has moved all that its node wrote in `epoch` from offset `seal` on to the epoch
    `successor`: what it had seen of that is called by its new name. Raises CorruptRecord."""
    ext = parse_extension(extension)
    if ext.writer is not None:
        return extension
    context = {writer_of(name): next_ for name, next_ in ext.seen}
    next_ = context.get((origin, epoch), 0)
    if next_ > seal:
        del context[origin, epoch]
        if seal:
            context[origin, epoch] = seal
        context[origin, successor] = next_ - seal
    return pack_own(SIDES[1] if ext.flags & CLOUD_SIDE else SIDES[0], context)


def version_of(record: "Record", origin: str, epoch: int) -> Version:
    """The version that a record of a keyed topic is; origin, epoch: of the log that it was met in. Raises CorruptRecord."""
    ext = parse_extension(record.extension)
    offset, hlc, trusted = record.offset, record.hlc, record.trusted
    if ext.writer is not None:
        origin, epoch = writer_of(ext.writer)
        offset, hlc, trusted = ext.offset, ext.hlc, not ext.flags & UNTRUSTED
    context = {writer_of(name): next_ for name, next_ in ext.seen}
    if len(context) != len(ext.seen):
        raise CorruptRecord("a version that has seen the same writer twice")
    value = None if record.tombstone else record.value
    side = SIDES[1] if ext.flags & CLOUD_SIDE else SIDES[0]
    return Version(origin, epoch, offset, side, hlc, trusted, context, value, ext.flags & DEMOTED != 0)
