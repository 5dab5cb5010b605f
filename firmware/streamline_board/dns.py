"""Messages to and from a name server (RFC 1035): the question for the IPv4 address of a name, and what an answer says.

Rule: an answer counts only if it repeats the question and the number that was drawn for it; whatever came, reading it ends, and looks at no
more than is there. Must not know: sockets, time.
"""

import struct

MESSAGE_BYTES_MAX = 512
ANSWERS_MAX = 16  # that are looked at, aliases included
_HEAD = ">HHHHHH"
_RECURSE, _ANSWER, _CODE = 0x0100, 0x8000, 0x000F
_A, _IN = 1, 1


def query(host, number):
    """The message that asks for an IPv4 address of `host`. Raises ValueError for what cannot be a name."""
    out = bytearray(struct.pack(_HEAD, number, _RECURSE, 1, 0, 0, 0))
    for label in host.rstrip(".").split("."):
        part = label.encode()
        if not 0 < len(part) < 64 or len(out) > 255:
            raise ValueError("it cannot be a name")
        out.append(len(part))
        out.extend(part)
    out.append(0)
    return bytes(out) + struct.pack(">HH", _A, _IN)


def read_answer(data, asked):
    """(address, how many seconds it is good for) in an answer to `asked`; ("", 0): there is none; None where it is no such answer."""
    if data[:2] != asked[:2] or data[12 : len(asked)] != asked[12:]:
        return None
    flags, questions, answers = struct.unpack(">HHH", data[2:8])
    if not flags & _ANSWER or questions != 1:
        return None
    at = len(asked)
    for _ in range(0 if flags & _CODE else min(answers, ANSWERS_MAX)):
        at = _after_name(data, at)
        if at < 0 or at + 10 > len(data):
            break
        kind, class_, ttl_secs, size = struct.unpack(">HHIH", data[at : at + 10])
        at += 10
        if kind == _A and class_ & 0x7FFF == _IN and size == 4 and at + 4 <= len(data):
            return "%d.%d.%d.%d" % tuple(data[at : at + 4]), ttl_secs
        at += size
    return "", 0


def _after_name(data, at):
    """Where a name ends that begins there, -1 where it does not. What it refers back to is not looked at."""
    while at < len(data):
        size = data[at]
        if size & 0xC0:
            return at + 2 if size & 0xC0 == 0xC0 else -1
        at += 1 + size
        if not size:
            return at
    return -1
