"""What keyed topics and feeds add to the frames of a session, near to what is right and with any content: versions, their extensions,
batches of them, differences, STATE and DIFF.

Rule: the names in it are few, so that what is made meets what is there. Must not know: what a session does with it.
"""

import struct
from typing import Any

from fuzz import packing
from fuzz.batch_targets import CODECS
from fuzz.fields import Fields, Script
from fuzz.frame_making import NODE
from fuzz.target import REFUSED, attempt
from streamline_core import cbor_plain, frames
from streamline_core.errors import UsageError
from streamline_core.record_encoder import encode_record, put_varint
from streamline_core.topic import TopicDefinition

KEYED, DOWN, BOTH = "state", "promo", "chat"
TOPICS: list[dict[str, Any]] = [
    {"topic": KEYED, "kind": "keyed", "direction": "bidirectional"},
    {"topic": DOWN, "direction": "cloud_to_edge"},
    {"topic": BOTH, "direction": "bidirectional"},
]
DEFINITIONS = {row["topic"]: TopicDefinition(row.get("kind", "log"), row["direction"]) for row in TOPICS}
KEYS = (b"k", b"other", b"", b"x" * 1024, b"x" * 1100)
HUB = "cloud"
NAMES = (NODE, HUB, "e9", "", "_others", "_feed", "x" * 200)
LONG = b"0123456789abcdef" * 24  # large enough for a difference
CODEC_IDS = (0, 0x80, 1, 0x81, 2, 0x82, 0x83, 0xFF)


def writer_from(fields: Fields, epochs: tuple[int, ...]) -> bytes:
    name = fields.pick(NAMES).encode()
    epoch = fields.unsigned(32) if fields.below(4) == 3 else fields.pick(epochs)
    return bytes([len(name) & 255]) + name + struct.pack("<I", epoch)


def extension_from(fields: Fields, epochs: tuple[int, ...]) -> bytes:
    """What a version carries. epochs: of logs that there are."""
    how = fields.below(8)
    if how == 7:
        return fields.blob()
    out = bytearray((2 if how < 5 else 1, fields.below(16)))
    if how < 5:
        out += writer_from(fields, epochs)
        put_varint(out, fields.unsigned())
        out += struct.pack("<Q", fields.unsigned())
    count = fields.unsigned(5)
    put_varint(out, count)
    for _ in range(count if how else 0):
        out += writer_from(fields, epochs)
        put_varint(out, fields.unsigned())
    return bytes(out)


def value_from(fields: Fields) -> bytes:
    how = fields.below(4)
    return LONG[fields.unsigned(8) :] + fields.blob() if how == 3 else fields.blob() * (1 + how * 40)


def versions_from(fields: Fields, base: int, epochs: tuple[int, ...]) -> bytes:
    """A batch of versions."""
    how = fields.byte()
    body, count = b"", fields.below(4)
    for _ in range(count):
        key = fields.pick(KEYS) if fields.below(8) else None
        flags = fields.byte()
        skipped = fields.unsigned(16) if flags & 1 else 0
        body += encode_record(
            skipped, flags >> 4, 0, value_from(fields), key, ((("h", b"1"),) if flags & 2 else ()), 5 if flags & 4 else None,
            flags & 8 != 0, extension_from(fields, epochs),
        )  # fmt: skip
    span = fields.unsigned(17) if how & 1 else count
    if how & 2:
        body = cbor_plain.encode((2, [[key, fields.pick(NAMES), fields.pick(epochs), fields.unsigned()] for key in KEYS[:count]]))
    flags = packing.CONTROL if how & 2 else fields.byte() if how & 4 else 0
    return packing.batch(body[:65000], flags, count, span, fields.unsigned() if how & 8 else base, term=fields.below(9) if how & 16 else 7)


def pieces_from(fields: Fields, raw: bytes, epochs: tuple[int, ...]) -> bytes:
    """Bytes as `lengthen` takes them: parts of `raw`, and differences from whatever base."""
    out, at = bytearray(), 0
    for _ in range(fields.below(6)):
        how = fields.below(4)
        size = min(len(raw) - at, fields.unsigned(12))
        put_varint(out, size if how != 3 else fields.unsigned())
        out += raw[at : at + size]
        at += size
        if how:
            out.append(0)
            put_varint(out, fields.unsigned() if how == 3 else fields.below(200))
            put_varint(out, fields.unsigned() if how == 3 else 1)
            out += writer_from(fields, epochs)
            put_varint(out, fields.unsigned())
            difference = fields.blob()
            put_varint(out, len(difference) if how != 3 else fields.unsigned())
            out += difference
    if at < len(raw):
        put_varint(out, len(raw) - at)
        out += raw[at:]
    return bytes(out)


def data_from(fields: Fields, session: bytes, epochs: tuple[int, ...]) -> bytes:
    """A DATA frame of versions or plain records."""
    handle, codec, first = fields.below(5), fields.pick(CODEC_IDS), fields.unsigned()
    payload, base = b"", first
    for _ in range(fields.below(3)):
        batch = versions_from(fields, base, epochs) if fields.below(4) else packing.batch_from(fields, base)
        payload += batch
        base += struct.unpack_from("<I", batch, 12)[0]
    if codec & 0x80:
        payload = pieces_from(fields, payload, epochs)
    raw_bytes = fields.unsigned(21) if fields.below(4) == 3 else len(payload)
    if codec & 3 in (1, 2):
        payload = bytes(CODECS.by_id(codec & 3).compress(payload))
    return bytes([frames.DATA]) + session + struct.pack("<HBIQ", handle, codec, raw_bytes & 0xFFFFFFFF, first) + payload[:65000]


def state_from(fields: Fields, session: bytes) -> bytes:
    handle, kind, bits = fields.below(5), fields.below(5), fields.below(26)
    parents = [fields.unsigned(24) for _ in range(fields.below(6))] if fields.below(2) else [0]
    parents_bits = fields.below(26) if fields.below(2) else max(0, bits - 4 if kind == 0 else bits)
    first, last = (fields.unsigned(), fields.unsigned()) if fields.below(2) else (0, (1 << 64) - 1)
    how = fields.below(4)
    if how == 0:
        data: Any = fields.blob()
    elif how == 1:
        data = bytes(8 * len(parents) << max(0, min(8, bits - parents_bits)))
    elif how == 2:
        data = (fields.blob() + bytes(8))[:8] * (len(parents) << max(0, min(8, bits - parents_bits)))
    else:
        data = fields.value()
    row = (handle, kind, bits, parents, parents_bits, first, last, data)
    return _frame(frames.STATE, session, row)


def diff_from(fields: Fields, session: bytes, epochs: tuple[int, ...]) -> bytes:
    handle, how = fields.below(5), fields.below(4)
    batch: Any = b""
    if how:
        for _ in range(fields.below(3)):
            batch += versions_from(fields, 0, epochs)
    else:
        batch = fields.value()
    gone: Any = [[fields.pick(KEYS), fields.pick(NAMES), fields.pick(epochs), fields.unsigned()] for _ in range(fields.below(4))]
    if fields.below(4) == 3:
        gone = fields.value()
    return _frame(frames.DIFF, session, (handle, batch, gone))


def have_from(fields: Fields, session: bytes, origin: str, epochs: tuple[int, ...]) -> bytes:
    """An offer of a feed (by a hub) or of a stream (by a node), with anything odd about it."""
    rows = []
    for _ in range(1 + fields.below(4)):
        topic = fields.pick((KEYED, DOWN, BOTH))
        odd = fields.byte()
        held: Any = [fields.unsigned()] if odd & 1 else None
        if odd & 2:
            held = fields.value()
        definition: Any = fields.value() if odd & 4 else list(DEFINITIONS[topic].to_wire())
        lineage = [(fields.below(9), fields.unsigned()) for _ in range(fields.below(4))] if odd & 8 else [(7, 0)]
        name = fields.pick(NAMES) if odd & 16 else origin
        epoch = fields.unsigned() if odd & 32 else fields.pick(epochs)
        handle = fields.unsigned() if odd & 64 else (KEYED, DOWN, BOTH).index(topic)
        row = (
            handle, fields.below(9), fields.unsigned(), fields.unsigned() if odd & 128 else 0, topic, fields.below(2) if odd & 16 else 0,
            name, epoch, definition, lineage, held, fields.below(8) == 7,
        )  # fmt: skip
        rows.append(row)
    return _frame(frames.HAVE, session, (fields.unsigned(16), rows))


def gap_from(fields: Fields, session: bytes) -> bytes:
    handle, first = fields.below(5), fields.unsigned()
    size = fields.unsigned()
    cause = fields.pick(("torn", "corrupt", "evicted", "too large", "refused", "rolled back", "?"))
    return _frame(frames.GAP, session, (handle, first, first + size & (1 << 64) - 1, cause, fields.below(9)))


def _frame(type_: int, session: bytes, values: Any) -> bytes:
    """A control frame; nothing at all where its values are no CBOR."""
    encoded = attempt(UsageError, cbor_plain.encode, values)
    return b"" if encoded is REFUSED else (bytes([type_]) + session + encoded)[: frames.FRAME_BYTES_MAX]


def feed_frame_from(fields: Fields, session: bytes, origin: str, epochs: tuple[int, ...]) -> bytes:
    """One of them. origin: whose streams the sender offers; epochs: of logs that there are, the sender's first."""
    kind = fields.below(6)
    if kind == 0:
        return have_from(fields, session, origin, epochs)
    if kind in (1, 5):
        return data_from(fields, session, epochs)
    if kind == 2:
        return gap_from(fields, session)
    if kind == 3:
        return state_from(fields, session)
    return diff_from(fields, session, epochs)


# What seeds are made of: scripts that the functions above read


def write_extension(script: Script, name: str, offset: int, hlc: int, seen: tuple[tuple[str, int], ...] = ()) -> Script:
    """A carried version's; its writers have the first epoch."""
    script.byte(1, 0, NAMES.index(name), 0, 0).number(offset, hlc).number(len(seen))
    for other, next_ in seen:
        script.byte(NAMES.index(other), 0, 0).number(next_)
    return script


def write_versions(script: Script, rows: tuple[tuple[bytes, str, int], ...], deleted: bool = False, keys: int = 1) -> Script:
    """rows: (value, writer, offset), of the first `keys` keys in turn."""
    script.byte(0, len(rows))
    for i in range(len(rows)):
        value, name, offset = rows[i]
        script.byte(1, i % keys, 8 if deleted else 0)
        script.byte(3).number(len(LONG) - len(value)).number(0) if value and LONG.endswith(value) else script.byte(0).blob(value)
        write_extension(script, name, offset, packing.HLC)
    return script
