"""Batches and slots with right checksums around whatever is in them: what a fuzzer's flips cannot get right.

Rule: the bytes are those of docs/FORMAT.md, packed by hand and not by the code under test; fields are cut to the bits they have. Must not
know: what makes sense in them.
"""

import binascii
import struct

from fuzz.fields import Fields, Script

HEADER_BYTES = 64
DENSE, UNTRUSTED, CONTROL = 1, 2, 4
FIELDS = ("flags", "count", "span", "base", "hlc", "term", "producer", "sequence", "behind")
HLC = 1700000000000 << 16


def batch(
    body: bytes,
    flags: int = DENSE,
    count: int = 1,
    span: int = 1,
    base: int = 0,
    hlc: int = HLC,
    term: int = 7,
    producer: int = 0,
    sequence: int = 0,
    behind: int = 0,
    version: int = 1,
    length: int | None = None,
) -> bytes:
    """A batch whose two CRCs are right. length: what its header says, None for the truth."""
    u32, u64 = (1 << 32) - 1, (1 << 64) - 1
    length = HEADER_BYTES + len(body) if length is None else length
    head = struct.pack(
        "<HBBIIIQQIQQII", 0xB15E, version & 255, flags & 255, length & u32, count & u32, span & u32, base & u64, hlc & u64, term & u32,
        producer & u64, sequence & u64, behind & u32, binascii.crc32(body),
    )  # fmt: skip
    return head + struct.pack("<I", binascii.crc32(head)) + body


def dense_body(values: list[bytes]) -> bytes:
    return struct.pack("<%dH" % len(values), *map(len, values)) + b"".join(values)


def dense(values: list[bytes], base: int = 0, **fields: int) -> bytes:
    """A valid dense batch."""
    return batch(dense_body(values), DENSE, len(values), len(values), base, **fields)


def slot(content: bytes, generation: int = 1) -> bytes:
    """A slot file whose CRC is right."""
    tail = struct.pack("<II", generation & 0xFFFFFFFF, len(content)) + content
    return struct.pack("<I", binascii.crc32(tail)) + tail


def batch_from(fields: Fields, base: int) -> bytes:
    """A batch, not far from a valid one: `base` and sensible fields, except where `fields` says otherwise."""
    which = fields.byte()
    if which & 128:
        body = fields.blob()
        given = {"flags": fields.byte(), "count": fields.number(), "span": fields.number(), "base": base}
    else:
        values = [fields.blob() for _ in range(1 + fields.below(4))]
        body = dense_body([value[:65535] for value in values])
        given = {"flags": DENSE, "count": len(values), "span": len(values), "base": base}
    for i, name in enumerate(("base", "hlc", "term", "producer", "sequence", "behind")):
        if which >> i & 1:
            given[name] = fields.number()
    if which & 4:
        given["behind"] = fields.number()
    if which & 32:
        given["length"] = fields.number()
    if which & 64:
        given["version"] = fields.byte()
    return batch(body[:65348], **given)


def write_batch(script: Script, values: list[bytes], **given: int) -> Script:
    """The script of a valid dense batch; given: hlc, term, producer, sequence as far as they differ."""
    names = ("base", "hlc", "term", "producer", "sequence", "behind")
    script.byte(sum(1 << names.index(name) for name in given)).byte(len(values) - 1)
    for value in values:
        script.blob(value)
    return script.number(*[given[name] for name in names if name in given])


def write_general_batch(script: Script, body: bytes, flags: int, count: int, span: int) -> Script:
    """The script of a batch with any body."""
    return script.byte(128).blob(body).byte(flags).number(count, span)
