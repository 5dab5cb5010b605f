"""Frames with the right session id and the right shape, and any content: what gets as far as a session.

Rule: about half of what comes out has the shape of its type, the rest is near it. Must not know: what a session does with it.
"""

import struct
from typing import Any

from fuzz import packing
from fuzz.batch_targets import CODECS
from fuzz.fields import Fields, Script
from fuzz.target import REFUSED, attempt
from streamline_core import cbor_plain, frames
from streamline_core.errors import UsageError
from streamline_core.topic import TopicDefinition

TOPIC, NODE = "t", "e1"
WORDS = (TOPIC, NODE, "none", "deflate", "zstd", "evicted", "corrupt", "too large", "unknown session", "", "\u20ac" * 256)
DEFINITION = list(TopicDefinition().to_wire())
ODDS = (DEFINITION, [], None)
ITEMS_MAX = 6
_LEAST = {"u": 0, "s": "", "b": b"", "?": False}  # of a shape; null for the rest
_BY_VALUE, _RAW, _FOREIGN = 5, 6, 7  # how a frame comes; below them: by its shape


def frame_from(fields: Fields, session: bytes) -> bytes:
    """A frame of any type."""
    kind = fields.byte()
    type_, how = kind & 15, kind >> 4 & 7
    if how == _FOREIGN:
        session = fields.raw(8).ljust(8, b"\0")
    head = bytes([type_]) + session
    if how == _RAW:
        return head + fields.blob()
    if type_ == frames.DATA:
        return data_from(fields, session)
    shape = frames._SHAPES.get(type_)
    value = fields.value() if how == _BY_VALUE or shape is None else _fill(fields, shape)
    encoded = attempt(UsageError, cbor_plain.encode, value)
    return head if encoded is REFUSED else head + encoded


def data_from(fields: Fields, session: bytes) -> bytes:
    """A DATA frame of near-batches, compressed in fact where it says so."""
    handle, codec, first = fields.unsigned(16), fields.below(4), fields.unsigned()
    base = fields.unsigned() if fields.below(4) == 3 else first
    payload = b""
    for _ in range(fields.below(4)):
        payload += packing.batch_from(fields, base)
        base += 1 + fields.below(4)
    how = fields.below(4)
    if how == 3:
        payload += fields.blob()
    raw_bytes = fields.unsigned(32) if how == 2 else len(payload)
    if how == 1 and codec in (1, 2):
        payload = bytes(CODECS.by_id(codec).compress(payload))
    return bytes([frames.DATA]) + session + struct.pack("<HBIQ", handle, codec, raw_bytes, first) + payload


def _fill(fields: Fields, shape: Any) -> Any:
    if isinstance(shape, tuple):
        return [_fill(fields, part) for part in shape]
    if isinstance(shape, list):
        return [_fill(fields, shape[0]) for _ in range(fields.below(ITEMS_MAX))]
    if shape == "u":
        return fields.unsigned()
    if shape == "s":
        which = fields.below(len(WORDS) + 1)
        return WORDS[which] if which < len(WORDS) else fields.text()
    if shape == "b":
        return fields.blob()
    if shape == "?":
        return fields.below(2) == 1
    if shape == "n":
        return fields.unsigned() if fields.below(2) else None
    which = fields.below(len(ODDS) + 1)
    return ODDS[which] if which < len(ODDS) else fields.value()


def fields_of(type_: int, values: Any) -> Any:
    """The fields of a control frame: these values, and after them whatever else its shape wants by now."""
    return _complete(frames._SHAPES[type_], values)


def _complete(shape: Any, value: Any) -> Any:
    if isinstance(shape, tuple):
        given = list(value)
        return [_complete(part, given[i]) if i < len(given) else _LEAST.get(str(part)) for i, part in enumerate(shape)]
    return [_complete(shape[0], item) for item in value] if isinstance(shape, list) else value


def write_frame(script: Script, type_: int, values: Any) -> Script:
    """The script of a control frame with these fields."""
    _write(script.byte(type_), frames._SHAPES[type_], fields_of(type_, values))
    return script


def write_data(script: Script, handle: int, first: int, *batches: list[bytes]) -> Script:
    """The script of a DATA frame of dense batches, from `first` on."""
    script.byte(frames.DATA).number(handle).byte(0).number(first).byte(0, len(batches))
    for values in batches:
        packing.write_batch(script, values).byte(len(values) - 1)
    return script.byte(0)


def _write(script: Script, shape: Any, value: Any) -> None:
    if isinstance(shape, tuple):
        for part, item in zip(shape, value, strict=True):
            _write(script, part, item)
    elif isinstance(shape, list):
        script.byte(len(value))
        for item in value:
            _write(script, shape[0], item)
    elif shape == "u":
        script.number(value)
    elif shape == "s":
        script.byte(WORDS.index(value)) if value in WORDS else script.byte(len(WORDS)).text(value)
    elif shape == "b":
        script.blob(value)
    elif shape == "?":
        script.byte(int(value))
    elif shape == "n":
        script.byte(0) if value is None else script.byte(1).number(value)
    else:
        script.byte(ODDS.index(value)) if value in ODDS else script.byte(len(ODDS)).value(value)
