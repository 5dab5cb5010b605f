"""What an application hands over, as the core takes it: bytes, milliseconds.

Rule: what would be stored as something else than was meant is refused. Knows nothing of topics.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from streamline_core.errors import UsageError

Headers = Sequence[tuple[str, bytes]]


def plain_bytes(what: str, given: object) -> bytes:
    """Raises UsageError for what is neither bytes nor text: a list of numbers, say, would be stored as something else."""
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, (bytes, bytearray, memoryview)):
        return memoryview(given).tobytes()
    raise UsageError(f"a {what} must be bytes or text, not {type(given).__name__}")


def plain_ms(time: int | datetime) -> int:
    return int(time.timestamp() * 1000) if isinstance(time, datetime) else time


def plain_record(
    value: bytes | str, key: bytes | str | None, headers: Headers | None, timestamp: int | datetime | None
) -> tuple[bytes, bytes | None, Headers | None, int | None]:
    """Raises UsageError."""
    if value is None:
        raise UsageError("a value must be bytes or text, not None; a key of a keyed topic goes with delete")
    return (
        plain_bytes("value", value),
        None if key is None else plain_bytes("key", key),
        [(name, plain_bytes("header", content)) for name, content in headers] if headers else None,
        None if timestamp is None else plain_ms(timestamp),
    )
