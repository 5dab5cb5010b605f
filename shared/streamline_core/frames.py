"""The frames of the protocol: one message each, self-contained, for a carrier that may lose, repeat or reorder them.

Rule: any bytes at all give a Frame or a ProtocolError, within bounded memory; a Frame's fields have the shapes written here. The bytes
are docs/PROTOCOL.md. Knows nothing of sessions.
"""

import struct

from . import cbor
from .errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .ports import Buffer

PROTOCOL_VERSION = 1
DIFFERENCE = "difference"  # among the codecs of a greeting: who can take large values as differences (delta.py)
SHORTENED = 0x80  # beside the codec of a DATA frame that has such
FRAME_BYTES_MAX = 65536
FRAME_BYTES_MIN = 512
RAW_BYTES_MAX = 1 << 20  # of what one DATA frame may hold when decompressed
ID_BYTES = 8
HEADER_BYTES = 1 + ID_BYTES
DATA_HEADER_BYTES = HEADER_BYTES + 15
NO_SESSION = bytes(ID_BYTES)

HELLO = 1
WELCOME = 2
HAVE = 3
WANT = 4
DATA = 5
GAP = 6
STATE = 7
DIFF = 8
ERROR = 9
BYE = 10
NAMES = ("", "HELLO", "WELCOME", "HAVE", "WANT", "DATA", "GAP", "STATE", "DIFF", "ERROR", "BYE")

# Shapes: u = 0 to 2^64-1, s = text ≤ 256 characters, b = bytes ≤ 64, ? = true or false, n = u or null, a tuple = an array
# that begins with these, a list = an array of any number of its one element, x = anything that CBOR gave (checked by
# whoever takes it).
_GREETING = ("u", "s", "u", "b", "b", ["s"], "u", "u", ["s"], "s")
_LINEAGE = [("u", "u")]
_SHAPES = {
    HELLO: _GREETING,  # version, node, role, nonce, storage id, codecs, largest frame, largest raw, sealings, software
    WELCOME: _GREETING + ("b", "n"),  # …, the HELLO's nonce, wall clock in ms
    HAVE: ("u", [("u", "u", "u", "u", "s", "u", "s", "u", "x", _LINEAGE, "x", "?")]),
    # number, [handle, first, next, sent, topic, partition, origin, epoch, definition, lineage, epochs its origin still
    # holds (null from a carrier, who cannot know), sealed: the epoch ends at next]
    WANT: ("u", "u", [("u", "u", [("s", "u")], "u", "?", _LINEAGE, "u")]),
    # number, number of the last HAVE, [handle, next, [cause, lost], limit, resend, lineage, produced]
    GAP: ("u", "u", "u", "s", "u"),  # handle, first, next, cause, term that wrote the last of them (0: not known)
    STATE: ("u", "u", "u", ["u"], "u", "u", "u", "x"),
    # handle of a feed, kind, a level's bits, parents and their bits, first and last hash, digests or hashes (reconcile.py)
    DIFF: ("u", "x", "x"),  # handle of a feed, a batch of carried versions, [key, origin, epoch, offset] of those that stand no longer
    ERROR: ("s", "s", "u", "n"),  # code, text, stay away for ms, handle
    BYE: ("s", "u"),  # text, stay away for ms
}


class Frame:
    """type; session: 8 bytes; fields: of a control frame as its shape says. Of DATA: (handle, codec id, raw bytes, first offset),
    and `payload`."""

    def __init__(self, type_: int, session: bytes, fields: "Any", payload: "memoryview | None" = None) -> None:
        self.type = type_
        self.session = session
        self.fields = fields
        self.payload = payload


class UnknownVersion(ProtocolError):
    """A greeting of a protocol version that this build does not speak."""


def _known(value: "Any", shape: "Any") -> "Any":
    """`value` cut down to what `shape` names: later builds may append to any array. Raises ProtocolError if it does not fit."""
    if isinstance(shape, (tuple, list)):
        if isinstance(value, list):
            if isinstance(shape, list):
                return [_known(item, shape[0]) for item in value]
            if len(value) >= len(shape):
                return [_known(value[i], shape[i]) for i in range(len(shape))]
    elif _fits(value, shape):
        return value
    raise ProtocolError("a frame of the wrong shape")


def _fits(value: "Any", shape: str) -> bool:
    if shape == "u":
        return type(value) is int and value >= 0
    if shape == "s":
        return isinstance(value, str) and len(value) <= 256
    if shape == "b":
        return isinstance(value, bytes) and len(value) <= 64
    if shape == "?":
        return value is True or value is False
    return shape == "x" or (shape == "n" and (value is None or (type(value) is int and value >= 0)))


def encode(type_: int, session: bytes, fields: "Any") -> bytes:
    """A control frame. `fields` has the shape of its type."""
    return bytes([type_]) + session + cbor.encode(fields)


def pack_data_header(buf: "bytearray | memoryview", session: bytes, handle: int, codec_id: int, raw_bytes: int, first: int) -> None:
    """Write the 24 bytes that go before a DATA frame's payload."""
    buf[0] = DATA
    buf[1:HEADER_BYTES] = session
    struct.pack_into("<HBIQ", buf, HEADER_BYTES, handle, codec_id, raw_bytes, first)


def decode(data: "Buffer") -> Frame:
    """Raises ProtocolError for anything that is not a frame of this protocol version."""
    if not HEADER_BYTES <= len(data) <= FRAME_BYTES_MAX:
        raise ProtocolError("a frame has %d to %d bytes, not %d" % (HEADER_BYTES, FRAME_BYTES_MAX, len(data)))
    type_ = data[0]
    session = bytes(data[1:HEADER_BYTES])
    if type_ == DATA:
        if len(data) < DATA_HEADER_BYTES:
            raise ProtocolError("a DATA frame of %d bytes is cut short" % len(data))
        fields = struct.unpack_from("<HBIQ", data, HEADER_BYTES)
        if fields[2] > RAW_BYTES_MAX:
            raise ProtocolError("a DATA frame of %d raw bytes; at most %d are allowed" % (fields[2], RAW_BYTES_MAX))
        return Frame(type_, session, fields, memoryview(data)[DATA_HEADER_BYTES:])
    shape = _SHAPES.get(type_)
    if shape is None:
        raise ProtocolError("unknown frame type %d" % type_)
    value = cbor.decode(bytes(data[HEADER_BYTES:]))
    if type_ in (HELLO, WELCOME) and isinstance(value, list) and value and value[0] != PROTOCOL_VERSION:
        raise UnknownVersion("protocol version %r; this build speaks %d" % (value[0], PROTOCOL_VERSION))
    return Frame(type_, session, _known(value, shape))
