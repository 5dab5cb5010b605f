"""The control socket's messages: what both of its sides agree on.

Rule: a message is two big-endian 32-bit lengths (header, body), a JSON object, and bytes; both lengths are bounded
before a byte of them is read. Requests carry `op` and `id`; answers carry the `id` and `ok`, or `error` with its
`kind`; an answer with `more` is not the last. Knows nothing of what the operations do.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import ujson

from streamline_core.errors import ProtocolError, UsageError

from .data_dir import SOCKET_NAME

HEADER_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 8 << 20
PATH_BYTES_MAX = 107  # sockaddr_un
PREFIX = struct.Struct(">II")

Header = dict[str, Any]


def socket_path(data_dir: str) -> str:
    """Where the agent of a data directory listens. Raises: UsageError where the path does not fit a socket address."""
    path = str(Path(data_dir) / SOCKET_NAME)
    if len(path.encode()) > PATH_BYTES_MAX:
        raise UsageError(
            f"control socket {path}: the path is {len(path.encode())} bytes long and {PATH_BYTES_MAX} are allowed; "
            "choose a shorter data directory"
        )
    return path


def pack(header: Header, body: bytes = b"") -> bytes:
    """One whole message. Raises: UsageError where it is too large."""
    text = ujson.dumps(header, escape_forward_slashes=False).encode()
    if len(text) > HEADER_BYTES_MAX or len(body) > BODY_BYTES_MAX:
        raise UsageError(f"control message of {len(text)} + {len(body)} bytes is too large; send less at once")
    return b"".join((PREFIX.pack(len(text), len(body)), text, body))


def lengths(prefix: bytes) -> tuple[int, int]:
    """Header and body length of the message that begins with `prefix` (8 bytes). Raises: ProtocolError."""
    header_bytes, body_bytes = PREFIX.unpack(prefix)
    if not 2 <= header_bytes <= HEADER_BYTES_MAX or body_bytes > BODY_BYTES_MAX:
        raise ProtocolError(f"control message announces {header_bytes} + {body_bytes} bytes")
    return header_bytes, body_bytes


def read_header(text: bytes) -> Header:
    """Raises: ProtocolError unless `text` is a JSON object."""
    try:
        header = ujson.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise ProtocolError("control message: its header is not a JSON object")
    return header


def split(body: bytes, sizes: list[int]) -> list[bytes]:
    """`body` cut into parts of `sizes`, which must fill it exactly. Raises: ProtocolError."""
    parts, at = [], 0
    for size in sizes:
        parts.append(body[at : at + size])
        at += size
    if at != len(body):
        raise ProtocolError(f"control message: sizes add up to {at} bytes, the body has {len(body)}")
    return parts


def text(header: Header, name: str) -> str:
    """A field of a request. Raises: UsageError unless it is text."""
    value = header.get(name)
    if not isinstance(value, str):
        raise UsageError(f"{name}: text is wanted, not {value!r}")
    return value


def number(header: Header, name: str, default: int = 0) -> int:
    """A field of a request. Raises: UsageError unless it is a whole number from -1 on."""
    value = header.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value < 1 << 63:
        raise UsageError(f"{name}: a whole number is wanted, not {value!r}")
    return value
