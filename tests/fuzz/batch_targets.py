"""Batches and what is in them: headers, bodies, records, the cutting up for small frames, and the chunks of the cloud.

Rule: a header is None or within its bounds; records are the promised ones in rising order, or CorruptRecord; what is cut up says the
same as before. Must not know: files, frames, sessions.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz import packing
from fuzz.fields import Fields, Script
from fuzz.target import REFUSED, Target, attempt
from streamline_cloud.chunk_records import StoredChunk, chunk_records, chunk_values
from streamline_core import batch as b
from streamline_core.batch import Header, batches, body_is_whole, dense_lengths, parse_header, records, understood
from streamline_core.errors import CorruptRecord
from streamline_core.extension import pack_carried, pack_own, version_of
from streamline_core.record import Record, read_records
from streamline_core.record_encoder import encode_record
from streamline_core.recut import recut
from streamline_core.version import WRITERS_MAX, Version
from streamline_host.codecs import codecs

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
RECUT_BYTES = (464, 1024, 4096)  # a frame has at least 512 bytes; tests use larger ones
BATCHES_MAX = 1 << 16  # of one input: a header each


def vectors(name: str) -> list[Any]:
    """The rows of a file of golden vectors."""
    return list(json.loads((VECTORS / name).read_text(encoding="utf-8")))


def golden_batches() -> list[bytes]:
    return [bytes.fromhex(row["hex"]) for row in vectors("batches.json")]


def run_batch(data: bytes) -> None:
    """The bytes are batches one after another, as in a segment, a chunk or a DATA frame."""
    for at in (0, 1, len(data) // 2, len(data)):
        header = parse_header(data, at)
        if header is not None:
            check_header(header)
            body_is_whole(header, data, at)
    end = 0
    for count, (header, view) in enumerate(take_batches(data)):
        assert count < BATCHES_MAX and bytes(view) == data[end : end + header.length]
        end += header.length
        check_batch(header, view)


def take_batches(data: bytes) -> Iterator[tuple[Header, memoryview]]:
    """The batches before the first that is none."""
    found = batches(memoryview(data))
    while (item := attempt(CorruptRecord, next, found, None)) not in (REFUSED, None):
        yield item


def check_header(header: Header) -> None:
    assert b.HEADER_BYTES <= header.length <= b.BATCH_BYTES_MAX, header.length
    assert 1 <= header.span <= b.SPAN_MAX and 0 <= header.count <= header.span, (header.count, header.span)
    assert header.next == header.base + header.span < 1 << 63, "offset %d does not fit 63 bits" % header.next


def check_batch(header: Header, view: memoryview) -> None:
    """Its records, and the same again from the parts that it is cut into."""
    check_header(header)
    if header.flags & b.DENSE:
        lengths = attempt(CorruptRecord, dense_lengths, header, view)
        assert lengths is REFUSED or (len(lengths) == header.count and sum(lengths) <= header.length)
    found = attempt(CorruptRecord, list, records(header, view))
    if found is not REFUSED:
        check_records(header, found, len(view))
    for bytes_max in RECUT_BYTES:
        parts = attempt(CorruptRecord, recut, header, view, bytes_max)
        if not understood(header):  # nobody may look into it: it is refused, or given up as a whole
            assert parts is REFUSED or parts == [(header.base, header.next, None)]
            continue
        assert (parts is REFUSED) == (found is REFUSED), "recut and records disagree"
        if found is not REFUSED and (header.count or header.control):
            check_parts(header, found, parts, bytes_max)


def check_records(header: Header, found: list[Record], size: int) -> None:
    assert len(found) == (0 if header.control else header.count)
    at = header.base
    for record in found:
        assert at <= record.offset < header.next
        at = record.offset + 1
    held = sum(len(r.value) + len(r.key or b"") + len(r.extension) + sum(len(content) for _, content in r.headers) for r in found)
    assert held <= size


def content(record: Record) -> tuple[Any, ...]:
    """Everything that a record says."""
    r = record
    return r.offset, r.hlc, r.trusted, r.timestamp_ms, r.key, r.value, tuple(r.headers), r.tombstone, r.extension


def check_parts(header: Header, found: list[Record], parts: list[Any], bytes_max: int) -> None:
    """Parts follow each other from the batch's first offset to its last; together they hold its records, but those too large."""
    at, again = header.base, []
    gone: list[tuple[int, int]] = []
    for first, next_, data in parts:
        assert first == at < next_
        at = next_
        if data is None:
            gone.append((first, next_))
            continue
        part = parse_header(data)
        assert len(data) <= bytes_max and part is not None and body_is_whole(part, data)
        assert (part.base, part.next, part.term, part.hlc) == (first, next_, header.term, header.hlc)
        if header.producer:
            assert (part.producer, part.sequence - part.base) == (header.producer, header.sequence - header.base)
        again += list(records(part, data))
    assert at == header.next
    kept = [record for record in found if not any(first <= record.offset < next_ for first, next_ in gone)]
    assert [content(record) for record in again] == [content(record) for record in kept]


def run_sealed_batch(data: bytes) -> None:
    """Batches whose checksums are right, so that what is behind them is reached."""
    fields = Fields(data)
    whole, base = b"", 0
    while fields.left and len(whole) < 1 << 16:
        whole += packing.batch_from(fields, base)
        base += 1 + fields.below(3)
    run_batch(whole)


def sealed_batch_seeds() -> list[bytes]:
    plain = packing.write_batch(Script(), [b"21.5", b"", b"22.0"])
    seeds = [bytes(plain), bytes(packing.write_batch(Script(), [b"x"], producer=9, sequence=5))]
    for body, count, span in general_bodies():
        seeds.append(bytes(packing.write_general_batch(Script(), body, 0, count, span)))
    return seeds + [bytes(packing.write_general_batch(Script(), b"\x84\x01\x00\x05\x18\x64", packing.CONTROL, 0, 1))]


def general_bodies() -> list[tuple[bytes, int, int]]:
    """Bodies of general batches with every field a record may have: (body, count, span)."""
    base_ms = packing.HLC >> 16
    full = encode_record(0, 5, base_ms, b"21.5", b"k", [("n", b"v"), ("m\u00e4", b"")], base_ms - 7)
    plain = encode_record(0, 0, base_ms, b"", None, (), None)
    gone = encode_record(2, 1, base_ms, b"", b"k", (), None, True, b"later")
    large = encode_record(0, 0, base_ms, b"v" * 500, b"k", (), base_ms)
    return [(bytes(full), 1, 1), (bytes(plain + gone), 2, 5), (bytes(plain + large + plain), 3, 3)]


def run_record(data: bytes) -> None:
    """The bytes are the body of a general batch, with a count and a span before them."""
    fields = Fields(data)
    count, span = fields.unsigned(32), fields.unsigned(30)
    hlc = fields.unsigned(64)
    body = fields.rest()
    found = attempt(CorruptRecord, list, read_records(body, 0, len(body), 0, hlc, True, count, span))
    assert found is REFUSED or len(found) == count
    if found is not REFUSED:
        # What a reader takes, a writer can say: a batch may have to be cut up.
        for record in found:
            delay_ms = (record.hlc - hlc) >> 16
            encode_record(0, delay_ms, hlc >> 16, record.value, record.key, record.headers, record.timestamp_ms, record.tombstone)


def record_seeds() -> list[bytes]:
    return [bytes(Script().number(count, span, packing.HLC).raw(body)) for body, count, span in general_bodies()]


def run_chunk(data: bytes) -> None:
    """A row of the cloud's store: what it yields is what it promises, or CorruptRecord."""
    fields = Fields(data)
    first, next_, count = fields.unsigned(62), fields.unsigned(62), fields.unsigned(32)
    codec, raw_bytes = fields.below(4), fields.unsigned(20)
    stored = b"".join(packing.batch_from(fields, i) for i in range(fields.below(3))) + fields.rest()
    if fields.left == 0 and raw_bytes == 0:
        raw_bytes = len(stored)
    if codec in (1, 2) and raw_bytes == len(stored):
        stored = bytes(CODECS.by_id(codec).compress(stored))
    chunk = StoredChunk((1, "n", 0, 1, 0, count, first, next_, codec, raw_bytes, stored))
    found = attempt(CorruptRecord, list, chunk_records(chunk, CODECS))
    values = attempt(CorruptRecord, chunk_values, chunk, CODECS)
    assert found is REFUSED or (len(found) == count and all(first <= record.offset < next_ for record in found))
    assert (found is REFUSED) == (values is REFUSED), (found, values)
    assert found is REFUSED or [record.value for record in found] == values


def chunk_seeds() -> list[bytes]:
    seeds = []
    for codec in range(3):
        script = Script().number(0, 2, 2).byte(codec).number(0).byte(1)
        seeds.append(bytes(packing.write_batch(script, [b"one", b"two"])))
    return seeds


CODECS = codecs("zstd")


def run_extension(data: bytes) -> None:
    """The extension of a record that is a version: packed again, it says the same."""
    if data:
        own = attempt(CorruptRecord, version_of, Record(7, 9, True, None, b"k", b"v", (), False, data), "e", 1)
        if own is not REFUSED:
            again = version_of(Record(7, 9, True, None, b"k", b"v", (), False, pack_carried(own)), "x", 2)
            assert len(own.context) <= WRITERS_MAX and (again.dot, again.order, again.context) == (own.dot, own.order, own.context)


def extension_seeds() -> list[bytes]:
    few = {("edge-1", 0xFFFFFFFF): 1 << 40, ("cloud", 7): 1}
    many = {("n%d" % i, i): i + 1 for i in range(WRITERS_MAX)}
    return [pack_own("edge", {}), pack_own("cloud", few), pack_carried(Version("n", 7, 99, "edge", 1 << 50, True, many, b""))]


TARGETS = (
    Target("extension", run_extension, extension_seeds, "version_of: what the record of a version carries"),
    Target("batch", run_batch, golden_batches, "parse_header, batches, dense_lengths, records, recut on raw bytes"),
    Target("sealedbatch", run_sealed_batch, sealed_batch_seeds, "the same behind right checksums"),
    Target("record", run_record, record_seeds, "read_records on any body, count and span"),
    Target("chunk", run_chunk, chunk_seeds, "chunk_records and chunk_values of the cloud's store agree"),
)
