"""MQTT 3.1.1 packets that a client writes, and the rules for strings and topics in both directions.

Rule: bytes as the standard (OASIS MQTT 3.1.1, named by section below) wants them; what we build wrong is a UsageError,
what the peer did is a ProtocolError. A PUBLISH is its head alone: the payload is sent from where it lies.
Must not know: connections, time, or which packets are outstanding.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .codec import Buffer

import struct

from .errors import ProtocolError, UsageError
from .utf8 import decode_utf8, encode_utf8

CONNECT = 0x10
CONNACK = 0x20
PUBLISH = 0x30
PUBACK = 0x40
SUBSCRIBE = 0x82  # its reserved flags are 0010, section 3.8.1
SUBACK = 0x90
PINGREQ = b"\xc0\x00"
PINGRESP = 0xD0
DISCONNECT = b"\xe0\x00"

DUP = 0x08
RETAIN = 0x01
LENGTH_BYTES_MAX = 4
"""Bytes of the remaining length, section 2.2.3."""
REMAINING_MAX = (1 << 28) - 1
STRING_BYTES_MAX = 65535


def packet(first: int, body: "Buffer", more: int = 0) -> bytearray:
    """Return a packet of type and flags ``first`` with ``body``; ``more`` bytes of it are sent from elsewhere."""
    out = bytearray()
    out.append(first)
    length = len(body) + more
    if length > REMAINING_MAX:
        raise UsageError("MQTT packet too long")
    while length > 127:
        out.append(length & 127 | 128)
        length >>= 7
    out.append(length)
    out.extend(body)
    return out


def put_data(out: bytearray, data: "Buffer") -> None:
    """Append ``data`` with its two bytes of length. Raises UsageError when it is longer than 65535 bytes."""
    if len(data) > STRING_BYTES_MAX:
        raise UsageError("longer than an MQTT string can be")
    out.extend(struct.pack(">H", len(data)))
    out.extend(data)


def put_string(out: bytearray, text: str) -> None:
    """Append a string (section 1.5.3).

    Raises UsageError when it is too long, or holds U+0000 or half a surrogate pair.
    """
    if "\0" in text:
        raise UsageError("U+0000 in an MQTT string")
    put_data(out, encode_utf8(text))


def put_topic(out: bytearray, topic: str) -> None:
    """Append the name of a topic (section 4.7). Raises UsageError for an empty one or one with a wildcard."""
    if not topic or "+" in topic or "#" in topic:
        raise UsageError("not an MQTT topic to publish to: %r" % topic)
    put_string(out, topic)


def take_topic(data: memoryview) -> str:
    """Return the name of a topic that the peer sent. Raises ProtocolError where ``put_topic`` raises UsageError."""
    topic = decode_utf8(data)
    if not topic or "+" in topic or "#" in topic or "\0" in topic:
        raise ProtocolError("not an MQTT topic to publish to")
    return topic


def check_qos(qos: int) -> None:
    """Raises UsageError for any QoS but 0 and 1: this client has no QoS 2."""
    if qos != 0 and qos != 1:
        raise UsageError("QoS %r: 0 or 1" % (qos,))


def connect_packet(
    client_id: str,
    keepalive_secs: int,
    username: "Optional[str]",
    password: "Optional[bytes]",
    will: "Optional[tuple[str, Buffer, int, bool]]",
    clean_session: bool,
) -> bytearray:
    """Return CONNECT (section 3.1).

    ``keepalive_secs`` is 0 (none) to 65535. Raises UsageError for what the standard forbids: a password without a
    username, an empty client id with a session to be kept, a will of QoS 2.
    """
    if not 0 <= keepalive_secs <= 65535:
        raise UsageError("keepalive_secs is 0 to 65535")
    if password is not None and username is None:
        raise UsageError("an MQTT password without a username")
    if not client_id and not clean_session:
        raise UsageError("a session to be kept needs a client id")
    flags = 0x02 if clean_session else 0
    tail = bytearray()
    put_string(tail, client_id)
    if will is not None:
        topic, payload, qos, retain = will
        check_qos(qos)
        flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
        put_topic(tail, topic)
        put_data(tail, payload)
    if username is not None:
        flags |= 0x80
        put_string(tail, username)
    if password is not None:
        flags |= 0x40
        put_data(tail, password)
    body = bytearray(b"\x00\x04MQTT\x04")
    body.append(flags)
    body.extend(struct.pack(">H", keepalive_secs))
    body.extend(tail)
    return packet(CONNECT, body)


def publish_head(topic: str, packet_id: int, payload_bytes: int, qos: int, retain: bool) -> bytearray:
    """Return PUBLISH (section 3.3) up to its payload, which is to follow; ``packet_id`` counts only for QoS 1."""
    check_qos(qos)
    body = bytearray()
    put_topic(body, topic)
    if qos:
        body.extend(struct.pack(">H", packet_id))
    return packet(PUBLISH | qos << 1 | (RETAIN if retain else 0), body, payload_bytes)


def subscribe_packet(packet_id: int, topic_filter: str, qos: int) -> bytearray:
    """Return SUBSCRIBE (section 3.8) for one filter. Raises UsageError for a filter that section 4.7.1 forbids."""
    check_qos(qos)
    levels = topic_filter.split("/")
    for at, level in enumerate(levels):
        if ("+" in level and level != "+") or ("#" in level and (level != "#" or at != len(levels) - 1)):
            raise UsageError("not an MQTT topic filter: %r" % topic_filter)
    if not topic_filter:
        raise UsageError("an MQTT topic filter is not empty")
    body = bytearray(struct.pack(">H", packet_id))
    put_string(body, topic_filter)
    body.append(qos)
    return packet(SUBSCRIBE, body)


def puback_packet(packet_id: int) -> bytes:
    """Return PUBACK (section 3.4)."""
    return struct.pack(">BBH", PUBACK, 2, packet_id)
