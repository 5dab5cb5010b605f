"""Records as lines of text: what `edge consume` prints.

Rule: without --json a record is its value, byte for byte, and a line end; with it, one JSON object a line in which
bytes that are not UTF-8 stand as base64 under another name. A gap is never passed over: it is a line of its own. Knows
nothing of sockets.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import ujson

from streamline_core.errors import UsageError

Rows = list[list[Any]]
TIME_DIGITS_MAX = 15  # of ms since 1970: the year 33658


def time_ms(text: str) -> int:
    """A time as people give it, in ms since 1970 UTC:

    such a number, or ISO 8601 (local time without a zone). Raises: UsageError.
    """
    if text.isascii() and text.isdigit() and len(text) <= TIME_DIGITS_MAX:
        return int(text)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise UsageError(f"time {text!r} is not allowed; use ms since 1970, or such as 2030-01-31T12:00:00Z") from None


def value_lines(rows: Rows, body: bytes) -> tuple[bytes, list[str]]:
    """(the values as lines, a text for each gap)."""
    values, gaps = [], []
    for row, key, value in _cut(rows, body):
        if key is None and value is None:
            gaps.append(f"gap: offsets {row[0]} to {row[1] - 1} are lost: {row[2]}")
        else:
            values.append(value or b"")
    return b"\n".join([*values, b""]) if values else b"", gaps


def json_lines(rows: Rows, body: bytes) -> tuple[bytes, list[str]]:
    """(one JSON object a line for each record and each gap, nothing more to tell)."""
    lines = []
    for row, key, value in _cut(rows, body):
        if key is None and value is None:
            line: dict[str, Any] = {"gap": {"first": row[0], "next": row[1], "cause": row[2]}}
        else:
            line = {"offset": row[0], "time_ms": row[1]}
            if not row[2]:
                line["time_trusted"] = False
            if key is not None:
                line.update(_text("key", key))
            if row[5]:
                line["headers"] = dict(row[5])
            line.update(_text("value", value or b""))
            if len(row) > 6 and row[6]:
                line["deleted"] = True
        lines.append(ujson.dumps(line, ensure_ascii=False, escape_forward_slashes=False).encode() + b"\n")
    return b"".join(lines), []


def _cut(rows: Rows, body: bytes) -> Iterator[tuple[list[Any], bytes | None, bytes | None]]:
    """Each row with its key and value; (row, None, None) for a gap."""
    at = 0
    for row in rows:
        if len(row) == 3:
            yield row, None, None
            continue
        key_bytes, value_bytes = row[3], row[4]
        key = None
        if key_bytes >= 0:
            key = body[at : at + key_bytes]
            at += key_bytes
        yield row, key, body[at : at + value_bytes]
        at += value_bytes


def _text(name: str, data: bytes) -> dict[str, str]:
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}
