"""What a decoder of the core makes of bytes, in one line that is the same on both interpreters.

Usage: MICROPYPATH=.frozen:shared:tests/unit:tests/fuzz micropython tests/fuzz/outcomes.py < lines of "name hex"

Prints the outcome of each line: a value, or the documented error's name; `!` and an error that is none of them. Rule: it runs on both
interpreters, so it uses nothing that only one of them has. Must not know: which bytes are good.
"""

import binascii
import sys

from harness import MICROPYTHON, MemoryStorage
from logs import STREAM, Bench
from streamline_core import cbor, frames
from streamline_core.batch import batches, parse_header, records
from streamline_core.delta import lengthen
from streamline_core.difference import apply
from streamline_core.digest import DIGEST_BYTES, Level, differing, digests, hash_set, plan
from streamline_core.errors import CorruptRecord, ProtocolError
from streamline_core.extension import version_of
from streamline_core.log_reader import LogReader
from streamline_core.mqtt import MqttClient
from streamline_core.record import Record, read_records
from streamline_core.segments import segment_name
from streamline_core.slots import Slots

if MICROPYTHON:
    from streamline_core.codec import DeviceDeflateCodec as DeflateCodec
else:
    from streamline_host.codecs import DeflateCodec

PIECES_MAX = 2000
BYTES_MAX = 4096  # that a value or a frame may become
BASE = b"0123456789abcdef" * 24


def shown(value):
    """A value as text: bytes and text in hexadecimal, since the interpreters escape them differently."""
    if value is None or value is True or value is False:
        return str(value)
    if isinstance(value, str):
        return "s" + binascii.hexlify(value.encode()).decode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "b" + binascii.hexlify(bytes(value)).decode()
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([shown(item) for item in value]) + "]"
    return "%d" % value


def shown_record(r):
    return shown((r.offset, r.hlc, r.trusted, r.timestamp_ms, r.key, r.value, r.headers, r.tombstone, r.extension))


def of_cbor(data):
    return shown(cbor.decode(data))


def of_frame(data):
    frame = frames.decode(data)
    return shown((frame.type, frame.session, frame.fields, frame.payload))


def of_header(data):
    header = parse_header(data)
    if header is None:
        return "None"
    h = header
    return shown((h.flags, h.length, h.count, h.span, h.base, h.hlc, h.term, h.producer, h.sequence, h.behind))


def of_batch(data):
    """Each batch and its records, up to the first thing that is wrong."""
    out = []
    try:
        for header, view in batches(data):
            out.append(of_header(view))
            for record in records(header, view):
                out.append(shown_record(record))
    except CorruptRecord:
        out.append("CorruptRecord")
    return " ".join(out)


def of_record(data):
    return " ".join([shown_record(record) for record in read_records(data, 0, len(data), 5, 1 << 56, True, 2, 9)])


def of_slot(data):
    storage = MemoryStorage()
    storage.append("f.1", data)
    return shown(Slots(storage, "f").load())


def of_segment(data):
    """A log over one segment, opened and read: pieces, gaps, and where writing goes on."""
    storage = MemoryStorage()
    storage.append(segment_name(STREAM.folder(), 0), data)
    log = Bench(storage=storage).open()
    reader, buf, out = LogReader(log, 0), bytearray(65536), []
    for _ in range(PIECES_MAX):
        piece = reader.read(buf, 1)
        if piece is None:
            return " ".join(out + [shown((log.next, log.durable, log.state.lineage[:-1], log.state.gaps.rows))])
        out.append(shown((piece.first, piece.next, piece.bytes, piece.count, piece.cause)))
    return "reading stands still"


def of_mqtt(data):
    client = MqttClient("node", 60, packet_bytes_max=1024)
    client.connect(0)
    out = []
    try:
        for piece in (b"\x20\x02\x00\x00", data):
            if piece:
                client.receive(piece, 0)
            while True:
                event = client.next_event()
                if event is None:
                    break
                out.append(shown(event))
    except ProtocolError:
        out.append("ProtocolError")
    return " ".join(out + [shown((client.state, client.unsent_bytes))])


def of_inflate(data):
    """Two bytes of length, and a deflate stream: a board's decoder and a host's."""
    return shown(DeflateCodec().decompress(data[2:], data[0] | data[1] << 8 if len(data) > 1 else 0))


def of_extension(data):
    version = version_of(Record(7, 9, True, None, b"k", b"v", (), False, data), "e", 1)
    context = [(origin, epoch, version.context[origin, epoch]) for origin, epoch in sorted(version.context)]
    return shown((version.dot, version.side, version.hlc, version.trusted, context, version.demoted))


def of_difference(data):
    """A base of as many bytes as the first one says, and what need be no difference to it."""
    at = 1 + data[0] if data else 0
    return shown(apply(data[1:at], data[at:], BYTES_MAX))


def of_lengthen(data):
    """A byte that says which offsets have a base, and pieces."""
    have = data[0] if data else 0
    asked = []

    def bases(key, writer, offset):
        asked.append((key, writer, offset))
        return BASE if have >> (offset & 7) & 1 else None

    return shown((lengthen(data[1:], BYTES_MAX, bases), asked))


def of_level(data):
    """[bits, parents, their bits, keys, digests]: a level as a peer names it, digests and hashes that he sends, and what is asked next."""
    row = cbor.decode(data)
    if not isinstance(row, list) or len(row) != 5 or not isinstance(row[1], list):
        return "no level"
    if type(row[3]) is not int or not isinstance(row[4], bytes):
        return "no keys"
    level = Level(row[0], row[1], row[2])
    mine = digests([(b"%d" % i, [("n", 1, i, False)]) for i in range(9)], level)
    theirs = (row[4] + bytes(len(mine)))[: len(mine)]
    found = differing(mine, theirs)
    next_ = [(each.bits, each.parents, each.parents_bits) for each in plan(level, found[0], row[3])] if found[0] else []
    return shown((level.count, mine, found, next_, sorted(hash_set(row[4][: len(row[4]) // DIGEST_BYTES * DIGEST_BYTES + (row[3] & 1)]))))


OUTCOMES = {
    "extension": of_extension,
    "difference": of_difference,
    "lengthen": of_lengthen,
    "level": of_level,
    "cbor": of_cbor,
    "frame": of_frame,
    "header": of_header,
    "batch": of_batch,
    "record": of_record,
    "inflate": of_inflate,
    "slot": of_slot,
    "segment": of_segment,
    "mqtt": of_mqtt,
}


def outcome(name, data):
    try:
        return OUTCOMES[name](data)
    except ProtocolError:
        return "ProtocolError"
    except CorruptRecord:
        return "CorruptRecord"
    except Exception as error:
        return "!%s: %s" % (type(error).__name__, error)


if __name__ == "__main__":
    for line in sys.stdin:
        name, _, digits = line.strip().partition(" ")
        print(outcome(name, binascii.unhexlify(digits)))
