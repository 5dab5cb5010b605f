"""Text from bytes of the peer, checked alike on every interpreter.

Rule: exactly the well-formed UTF-8 of RFC 3629 is text. MicroPython's own check lets overlong forms, surrogates, and
code points above U+10FFFF pass; two nodes that differ about a topic's name would differ about everything after it.
Must not know: what the text means or which format carried it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .codec import Buffer

from .errors import ProtocolError, UsageError


def decode_utf8(data: "Buffer") -> str:
    """Return the text in ``data``.

    Raises ProtocolError when ``data`` is not well-formed UTF-8 (RFC 3629, section 4).
    """
    try:
        text = str(data, "utf-8")
    except ValueError:  # UnicodeError is one, on both interpreters
        raise ProtocolError("text is not UTF-8")
    if len(text) != len(data) and not _strict(data):  # equal lengths: all ASCII
        raise ProtocolError("text is not UTF-8")
    return text


def encode_utf8(text: str) -> bytes:
    """Return ``text`` as UTF-8 (RFC 3629).

    Raises UsageError when it holds half of a surrogate pair, which no UTF-8 can say.
    """
    try:
        data = text.encode()
    except ValueError:
        raise UsageError("text holds a surrogate")
    if len(text) != len(data) and not _strict(data):
        raise UsageError("text holds a surrogate")
    return data


def _strict(data: "Buffer") -> bool:
    # The structure (lead bytes, continuations) is checked already; what is left shows in a lead and the byte after it.
    last = len(data) - 1
    for at, lead in enumerate(data):
        if lead < 0xC2:
            if lead >= 0xC0:
                return False  # overlong, two bytes
            continue
        if at == last:
            return False
        after = data[at + 1]
        if (
            (lead == 0xE0 and after < 0xA0)  # overlong, three bytes
            or (lead == 0xED and after > 0x9F)  # a surrogate
            or (lead == 0xF0 and after < 0x90)  # overlong, four bytes
            or (lead == 0xF4 and after > 0x8F)  # above U+10FFFF
            or lead > 0xF4
        ):
            return False
    return True
