"""The control socket's messages: what both of its sides agree on.

Rule: a message is one line of JSON, bounded before it is read whole. Requests carry `op` and `id`; answers carry the `id` and `ok`, or
`error` with its `kind`. Bytes are text where they are UTF-8, else {"base64": …}. Knows nothing of what the operations do.
"""

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from streamline_core.errors import ProtocolError, UsageError

LINE_BYTES_MAX = 1 << 20  # a largest record whose every byte is escaped
PATH_BYTES_MAX = 107  # sockaddr_un

Message = dict[str, Any]


def socket_path(store: Path) -> str:
    """Where the bridge of a store listens: beside its file. Raises UsageError where the path does not fit a socket address."""
    path = str(store.absolute()) + ".sock"
    size = len(path.encode(errors="surrogateescape"))
    if size > PATH_BYTES_MAX:
        raise UsageError(
            "control socket %s: the path is %d bytes long and %d are allowed; choose a shorter --store" % (path, size, PATH_BYTES_MAX)
        )
    return path


def pack(message: Message) -> bytes:
    """One line. Raises UsageError where it is too long."""
    line = json.dumps(message, ensure_ascii=False).encode() + b"\n"
    if len(line) > LINE_BYTES_MAX:
        raise UsageError("control message of %d bytes: at most %d are allowed" % (len(line), LINE_BYTES_MAX))
    return line


def unpack(line: bytes) -> Message:
    """Raises ProtocolError unless the line is a JSON object."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise ProtocolError("control message: not a JSON object")
    return message


def text_or_base64(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def to_bytes(what: str, given: object) -> bytes:
    """The other way. Raises UsageError for anything else."""
    try:
        if isinstance(given, str):
            return given.encode()
        if isinstance(given, dict) and list(given) == ["base64"]:
            return base64.b64decode(given["base64"], validate=True)
    except (UnicodeEncodeError, binascii.Error, TypeError, ValueError):
        pass
    raise UsageError('%s: text or {"base64": …} is wanted, not %.100r' % (what, given))
