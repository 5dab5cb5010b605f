"""CBOR for control frames: ``encode`` and ``decode``, by cbor2 where it can be imported, by cbor_plain elsewhere.

Rule: which of the two does the work cannot be seen: same values, same bytes, same refusals. cbor2 accepts far more than
we speak, so what it returns is checked (types, depth, items) and encoded again: other bytes than those received are
refused. That comparison alone catches tags, indefinite lengths, long forms, and trailing bytes.
Must not know: what the arrays mean.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .codec import Buffer

try:
    import cbor2
except ImportError:
    cbor2 = None  # type: ignore[assignment]

if cbor2 is not None:
    from . import cbor_plain
    from .errors import ProtocolError, UsageError

    _TAGS = bytes(range(0xC0, 0xE0))
    DEPTH_MAX = 8
    """Arrays inside arrays; the outermost counts as one."""
    ITEMS_MAX = 4096
    """Items of a whole value; an array counts as one, besides what it holds."""
    INT_MIN = -(1 << 63)
    INT_MAX = (1 << 64) - 1

    def _check(value: "Any", depth: int, items: int) -> int:
        items += 1
        if items > ITEMS_MAX:
            raise UsageError("more than %d items" % ITEMS_MAX)
        kind = type(value)
        if kind is int:
            if not INT_MIN <= value <= INT_MAX:
                raise UsageError("integer out of range")
        elif kind is list or kind is tuple:
            if depth == DEPTH_MAX:
                raise UsageError("nested deeper than %d" % DEPTH_MAX)
            for item in value:
                items = _check(item, depth + 1, items)
        elif not (kind is bytes or kind is str or kind is bool or value is None):
            raise UsageError("cannot encode %s" % kind.__name__)
        return items

    def encode(value: "Any") -> bytes:
        """Return the one encoding of ``value`` (RFC 8949, section 4.2.1).

        Takes integers in [-2^63, 2^64-1], bytes, str, True, False, None, and lists or tuples of them: at most ITEMS_MAX
        items, nested at most DEPTH_MAX deep. Raises UsageError for anything else.
        """
        _check(value, 0, 0)
        try:
            return bytes(cbor2.dumps(value))
        except UnicodeError:
            raise UsageError("text holds a surrogate") from None

    def decode(data: "Buffer") -> "Any":
        """Return the value that ``data`` encodes; arrays come back as lists, and nothing refers to ``data`` afterwards.

        Raises ProtocolError for any bytes that ``encode`` could not have returned.
        """
        data = bytes(data)
        if len(data.translate(None, _TAGS)) != len(data):
            # Perhaps a tag: cbor2 makes of them whatever they stand for, and a regular expression takes milliseconds for each byte.
            return cbor_plain.decode(data)
        try:
            value = cbor2.loads(data)
            same = encode(value) == data
        except Exception as error:  # cbor2's own, RecursionError, MemoryError, whatever a tag's decoder raises
            raise ProtocolError("not the CBOR we speak: %s" % error) from None
        if not same:
            raise ProtocolError("not the shortest CBOR of its value")
        return value

else:
    from .cbor_plain import decode, encode  # noqa: F401
