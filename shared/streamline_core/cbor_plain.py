"""Deterministic CBOR in plain Python, for interpreters without cbor2.

Rule: one value has one encoding (RFC 8949, section 4.2.1), and any other spelling of it is refused. Integers in
[-2^63, 2^64-1], byte strings, text, arrays, true, false, null; nothing else, and never deeper or longer than the
bounds.
Must not know: what the arrays mean, or that another implementation exists (cbor.py compares the two).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .codec import Buffer

import struct

from .errors import ProtocolError, UsageError
from .utf8 import decode_utf8, encode_utf8

DEPTH_MAX = 8
"""Arrays inside arrays; the outermost counts as one."""
ITEMS_MAX = 4096
"""Items of a whole value; an array counts as one, besides what it holds."""
INT_MIN = -(1 << 63)
INT_MAX = (1 << 64) - 1

_SIMPLE = {0xF4: False, 0xF5: True, 0xF6: None}


def encode(value: "Any") -> bytes:
    """Return the one encoding of ``value`` (RFC 8949, section 4.2.1).

    Raises UsageError for a type, an integer, a depth, or a number of items outside what this module's rule names.
    """
    out = bytearray()
    _put(out, value, 0, 0)
    return bytes(out)


def _put(out: bytearray, value: "Any", depth: int, items: int) -> int:
    items += 1
    if items > ITEMS_MAX:
        raise UsageError("more than %d items" % ITEMS_MAX)
    kind = type(value)
    if kind is int:
        if not INT_MIN <= value <= INT_MAX:
            raise UsageError("integer out of range")
        if value < 0:
            _put_head(out, 0x20, -1 - value)
        else:
            _put_head(out, 0, value)
    elif kind is bytes:
        _put_head(out, 0x40, len(value))
        out.extend(value)
    elif kind is str:
        data = encode_utf8(value)
        _put_head(out, 0x60, len(data))
        out.extend(data)
    elif kind is list or kind is tuple:
        if depth == DEPTH_MAX:
            raise UsageError("nested deeper than %d" % DEPTH_MAX)
        _put_head(out, 0x80, len(value))
        for item in value:
            items = _put(out, item, depth + 1, items)
    elif value is None:
        out.append(0xF6)
    elif kind is bool:
        out.append(0xF5 if value else 0xF4)
    else:
        raise UsageError("cannot encode %s" % kind.__name__)
    return items


def _put_head(out: bytearray, major: int, number: int) -> None:
    if number < 24:
        out.append(major | number)
    elif number < 0x100:
        out.append(major | 24)
        out.append(number)
    elif number < 0x10000:
        out.extend(struct.pack(">BH", major | 25, number))
    elif number < 0x100000000:
        out.extend(struct.pack(">BI", major | 26, number))
    else:
        out.extend(struct.pack(">BQ", major | 27, number))


def decode(data: "Buffer") -> "Any":
    """Return the value that ``data`` encodes; arrays come back as lists, and nothing refers to ``data`` afterwards.

    Raises ProtocolError for any bytes that ``encode`` could not have returned.
    """
    reader = _Reader(data)
    value = reader.item(0)
    if reader.at != len(data):
        raise ProtocolError("bytes after the value")
    return value


class _Reader:
    def __init__(self, data: "Buffer") -> None:
        self.data = memoryview(data)
        self.at = 0
        self.items = 0

    def item(self, depth: int) -> "Any":
        self.items += 1
        if self.items > ITEMS_MAX:
            raise ProtocolError("more than %d items" % ITEMS_MAX)
        if self.at >= len(self.data):
            raise ProtocolError("value cut short")
        first = self.data[self.at]
        self.at += 1
        major = first >> 5
        if major > 4:
            if first not in _SIMPLE:
                raise ProtocolError("unsupported item 0x%02x" % first)
            return _SIMPLE[first]
        number = self.number(first & 31)
        if major == 0:
            return number
        if major == 1:
            if number >> 63:
                raise ProtocolError("integer out of range")
            return -1 - number
        if number > len(self.data) - self.at:  # an item is a byte at least
            raise ProtocolError("length beyond the end")
        if major == 4:
            if depth == DEPTH_MAX:
                raise ProtocolError("nested deeper than %d" % DEPTH_MAX)
            return [self.item(depth + 1) for _ in range(number)]
        start = self.at
        self.at += number
        part = self.data[start : self.at]
        return bytes(part) if major == 2 else decode_utf8(part)

    def number(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise ProtocolError("unsupported length")
        start = self.at
        self.at += 1 << (info - 24)
        if self.at > len(self.data):
            raise ProtocolError("value cut short")
        number = int.from_bytes(self.data[start : self.at], "big")
        if number < 24 or (info > 24 and not number >> (4 << (info - 24))):
            raise ProtocolError("number not in its shortest form")
        return number
