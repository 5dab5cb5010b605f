"""JSON that is read whole, or not at all.

Rule: what ends too early is refused on every interpreter: that of MicroPython 1.25, which images are built from, takes an object or a list
whose last bracket is missing, so half a file of limits would be a file with fewer limits. Must not know: what is read.
"""

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    json.loads("{")
    LENIENT = True
except ValueError:
    LENIENT = False


def loads(text: str) -> "Any":
    """The value that `text` is. Raises ValueError where it is none, or not all of one."""
    value = json.loads(text)
    if LENIENT and not _closed(text):
        raise ValueError("it ends too early")
    return value


def _closed(text: str) -> bool:
    """Whether each bracket outside of strings has its other half: what lies between them is the parser's."""
    depth, within, escaped = 0, False, False
    for c in text:
        if within:
            if escaped:
                escaped = False
            elif c == "\\":
                escaped = True
            elif c == '"':
                within = False
        elif c == '"':
            within = True
        elif c in "{[":
            depth += 1
        elif c in "}]":
            depth -= 1
    return not depth and not within
