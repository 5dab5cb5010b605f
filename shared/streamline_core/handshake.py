"""How two nodes greet each other: who either is, what both can do, and the id of the session that begins.

Rule: the id is made of both sides' random nonces, so that an old greeting opens nothing. Knows nothing of streams, or of when to greet.
"""

import hashlib

from . import frames
from .errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EDGE = 0
HUB = 1


class Identity:
    """Who one side of a session is. role: EDGE or HUB; storage_id: 8 bytes, of its data directory; raw_bytes_max: of what a DATA frame to
    it may hold when decompressed."""

    def __init__(self, node_id: str, role: int, storage_id: bytes, frame_bytes_max: int, raw_bytes_max: int, software: str) -> None:
        self.node_id = node_id
        self.role = role
        self.storage_id = storage_id
        self.frame_bytes_max = frame_bytes_max
        self.raw_bytes_max = raw_bytes_max
        self.software = software

    def greeting(self, nonce: bytes, codecs: "tuple[str, ...]") -> "tuple[Any, ...]":
        """The fields of a HELLO, with which a WELCOME begins, too."""
        return (
            frames.PROTOCOL_VERSION, self.node_id, self.role, nonce, self.storage_id, codecs + (frames.DIFFERENCE,),
            self.frame_bytes_max, self.raw_bytes_max, (), self.software,
        )  # fmt: skip


def identity_in(fields: "Any") -> Identity:
    """Who the other side is, by the fields of its greeting. Raises ProtocolError for a version that we do not speak, and for what nobody
    can keep to."""
    if fields[0] != frames.PROTOCOL_VERSION:
        raise ProtocolError("protocol version %d; this build speaks %d" % (fields[0], frames.PROTOCOL_VERSION))
    if len(fields[3]) != frames.ID_BYTES or not frames.FRAME_BYTES_MIN <= fields[6] <= frames.FRAME_BYTES_MAX:
        raise ProtocolError("a greeting with a nonce of %d bytes and frames of %d" % (len(fields[3]), fields[6]))
    return Identity(fields[1], fields[2], fields[4], fields[6], fields[7], fields[9])


def session_id(hello_nonce: bytes, welcome_nonce: bytes) -> bytes:
    """The first 8 bytes of SHA-256("streamline session" + both nonces)."""
    return hashlib.sha256(b"streamline session" + hello_nonce + welcome_nonce).digest()[: frames.ID_BYTES]
