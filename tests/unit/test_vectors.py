"""The golden vectors in tests/vectors: what the code writes is these bytes, and these bytes read as these fields, on every interpreter.

The files were made once, by a program of its own; they change only with a version of the format.
"""

import binascii
import json

from harness import MemoryStorage
from streamline_core import batch as b
from streamline_core import cbor, frames
from streamline_core.handshake import session_id
from streamline_core.log_state import LogState
from streamline_core.record_encoder import encode_record
from streamline_core.slots import Slots

try:
    HERE = __file__.replace("\\", "/").rpartition("/")[0] or "."
except NameError:
    HERE = "tests/unit"


def text_of(path):
    with open(HERE + "/../../" + path, encoding="utf-8") as file:
        return file.read()


def vectors(name):
    rows = json.loads(text_of("tests/vectors/" + name))
    assert rows
    return rows


def unhex(text):
    return binascii.unhexlify(text)


def value_of(value):
    """A value of the files: bytes are {"hex": …}."""
    if isinstance(value, dict):
        return unhex(value["hex"])
    if isinstance(value, list):
        return [value_of(item) for item in value]
    return value


def body_of(row):
    if "note" in row:
        return unhex(row["note"])
    values = [unhex(r["value"]) for r in row["records"]]
    if row["flags"] & b.DENSE:
        return b"".join([bytes([len(v) & 255, len(v) >> 8]) for v in values] + values)
    out, at = b"", row["base"]
    for r in row["records"]:
        key = unhex(r["key"]) if r["key"] is not None else None
        headers = [(name, unhex(content)) for name, content in r["headers"]]
        value, base_ms = unhex(r["value"]), row["hlc"] >> 16
        out += bytes(encode_record(r["offset"] - at, r["delay_ms"], base_ms, value, key, headers, r["timestamp_ms"], r["tombstone"]))
        at = r["offset"] + 1
    return out


def test_batches_are_written_as_they_stand():
    for row in vectors("batches.json"):
        body = body_of(row)
        head = bytearray(64)
        b.pack_header(
            head, row["flags"], row["count"], row["span"], row["base"], row["hlc"], row["term"], row["producer"], row["sequence"],
            row["behind"], len(body), binascii.crc32(body),
        )  # fmt: skip
        assert bytes(head) + body == unhex(row["hex"]), row["name"]


def test_batches_are_read_as_they_stand():
    for row in vectors("batches.json"):
        found = list(b.batches(unhex(row["hex"])))
        assert len(found) == 1, row["name"]
        header, view = found[0]
        for name in ("flags", "count", "span", "base", "hlc", "term", "producer", "sequence", "behind"):
            assert getattr(header, name) == row[name], (row["name"], name)
        assert b.understood(header) and header.trusted == (row["flags"] & 2 == 0) and header.control == ("note" in row)
        if "note" in row:
            assert bytes(view[64:]) == unhex(row["note"])
        rows = list(b.records(header, view))
        assert len(rows) == len(row["records"])
        for got, want in zip(rows, row["records"]):
            assert (got.offset, got.timestamp_ms, got.tombstone) == (want["offset"], want["timestamp_ms"], want["tombstone"])
            assert got.hlc == row["hlc"] + (want["delay_ms"] << 16) and got.trusted == header.trusted
            assert got.value == unhex(want["value"]) and got.key == (None if want["key"] is None else unhex(want["key"]))
            assert list(got.headers) == [(name, unhex(content)) for name, content in want["headers"]]


def test_frames_are_written_and_read_as_they_stand():
    for row in vectors("frames.json"):
        data, session, fields = unhex(row["hex"]), unhex(row["session"]), value_of(row["fields"])
        frame = frames.decode(data)
        assert (frame.type, frame.session) == (row["type"], session) and list(frame.fields) == fields, row["name"]
        if row["type"] == frames.DATA:
            buf = bytearray(frames.DATA_HEADER_BYTES)
            frames.pack_data_header(buf, session, *fields)
            assert bytes(buf) + unhex(row["payload"]) == data and bytes(frame.payload) == unhex(row["payload"])
        else:
            assert frames.encode(row["type"], session, fields) == data, row["name"]


def test_slots_and_the_state_in_them():
    for row in vectors("slots.json"):
        name = "f/state.%d" % (row["generation"] % 2)
        storage = MemoryStorage()
        storage.append(name, unhex(row["hex"]))
        slots = Slots(storage, "f/state")
        assert slots.load() == unhex(row["content"])
        storage = MemoryStorage()
        slots = Slots(storage, "f/state")
        slots._generation = row["generation"] - 1
        slots.save(unhex(row["content"]))
        assert bytes(storage.files[name]) == unhex(row["hex"])
    storage = MemoryStorage()
    storage.append("f/state.0", unhex(row["hex"]))
    state = LogState(storage, "f", 64)
    assert state.load()
    assert (state.sealed_at, state.checkpoint, state.acked, state.reported, state.ordinal) == (-1, 42, 40, 40, 0)
    assert (state.lost, state.lineage, state.gaps.rows) == ({"corrupt": 2}, [(0x01020304, 0)], [(40, 42, "corrupt")])
    assert state.producers.to_wire() == [[9, 77, 5, 2]]
    state.save()
    for _ in storage.completed():
        state.slots.synced(None)
    assert bytes(storage.files["f/state.1"])[12:] == unhex(row["content"])


def test_cbor_and_session_ids():
    for row in vectors("cbor.json"):
        assert cbor.encode(value_of(row["value"])) == unhex(row["hex"]) and cbor.decode(unhex(row["hex"])) == value_of(row["value"])
    for row in vectors("sessions.json"):
        assert session_id(unhex(row["hello"]), unhex(row["welcome"])) == unhex(row["session"])


def test_the_example_in_the_documents_is_the_first_vector():
    text = text_of("docs/FORMAT.md")
    begin = text.index("```hex\n") + 7
    digits = "".join([line.split("|")[0].replace(" ", "") for line in text[begin : text.index("```", begin)].split("\n")])
    assert digits == vectors("batches.json")[0]["hex"]
