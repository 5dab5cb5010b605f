"""The control socket's messages, packed and read fast: what both of its sides on CPython use.

Rule: the shape of a message is the core's (`streamline_core.control_wire`); here is what it takes to make one. Knows nothing of what the
operations do.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import ujson

from streamline_core.control_records import split
from streamline_core.control_wire import (
    BODY_BYTES_MAX,
    HEADER_BYTES_MAX,
    PREFIX_BYTES,
    SOCKET_NAME,
    check_path,
    lengths,
    number,
    text,
)
from streamline_core.errors import ProtocolError, UsageError

__all__ = ["BODY_BYTES_MAX", "HEADER_BYTES_MAX", "PREFIX_BYTES", "lengths", "number", "pack", "read_header", "socket_path", "split", "text"]

Header = dict[str, Any]
_PREFIX = struct.Struct(">II")


def socket_path(data_dir: str) -> str:
    """Where the agent of a data directory listens. Raises: UsageError where the path does not fit a socket address."""
    return check_path(str(Path(data_dir) / SOCKET_NAME))


def pack(header: Header, body: bytes = b"") -> bytes:
    """One whole message. Raises: UsageError where it is too large."""
    said = ujson.dumps(header, escape_forward_slashes=False).encode()
    if len(said) > HEADER_BYTES_MAX or len(body) > BODY_BYTES_MAX:
        raise UsageError(f"control message of {len(said)} + {len(body)} bytes is too large; send less at once")
    return b"".join((_PREFIX.pack(len(said), len(body)), said, body))


def read_header(said: bytes) -> Header:
    """Raises: ProtocolError unless `said` is a JSON object."""
    try:
        header = ujson.loads(said)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise ProtocolError("control message: its header is not a JSON object")
    return header
