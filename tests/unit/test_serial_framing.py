"""Packets on a byte line: what comes out is what went in, whatever happens to the bytes between."""

import binascii
import struct

from harness import MICROPYTHON, Random, cuts, flips, raises
from streamline_core.errors import UsageError
from streamline_core.serial_framing import BODY_BYTES_MIN, PacketReader, encode_into, packet_bytes

ROUNDS = 60 if MICROPYTHON else 400
PAYLOAD_MAX = 1500


def packet(kind, payload):
    buf = bytearray(packet_bytes(len(payload)))
    return bytes(buf[: encode_into(kind, payload, buf)])


def plain_packet(kind, payload):
    """The same, written a byte at a time as the paper has it."""
    body = bytes([kind]) + payload
    body += struct.pack("<I", binascii.crc32(body))
    out, run = bytearray(b"\0"), bytearray()
    full = False
    for byte in body:
        if full:  # 254 bytes without a zero, and there is more
            out += b"\xff" + run
            run, full = bytearray(), False
        if byte:
            run.append(byte)
            full = len(run) == 254
        else:
            out += bytes([len(run) + 1]) + run
            run = bytearray()
    return bytes(out + bytes([len(run) + 1]) + run + b"\0")


def taken(reader, data, piece=None):
    """[(kind, payload)] of what comes of `data`, in pieces of at most so many bytes."""
    found, at = [], 0
    while at < len(data):
        room = reader.room()
        size = min(len(room), len(data) - at, piece or len(room))
        room[:size] = data[at : at + size]
        reader.filled(size)
        at += size
        while True:
            kind = reader.next_packet()
            if not kind:
                break
            found.append((kind, bytes(reader.payload)))
    return found


def shapes():
    """Payloads that reach every way through the code: runs of 253 to 256 bytes without a zero, zeros at all ends."""
    yield b""
    for size in (1, 2, 249, 250, 251, 252, 253, 254, 255, 256, 503, 504, 505, 506, 507, 508, 509, 510, 1015, 1016, PAYLOAD_MAX):
        yield b"x" * size
        yield b"\0" * size
        yield b"x" * (size - 1) + b"\0"
        yield b"\0" + b"x" * (size - 1)
        yield b"x" * (size // 2) + b"\0" + b"x" * ((size - 1) // 2)


def test_every_shape_is_written_as_the_paper_has_it_and_read_back():
    reader = PacketReader(PAYLOAD_MAX)
    for payload in shapes():
        data = packet(7, payload)
        assert data == plain_packet(7, payload), payload
        assert len(data) <= packet_bytes(len(payload))
        assert taken(reader, data) == [(7, payload)], payload
    assert reader.refused == 0


def test_random_payloads_in_pieces_of_any_size():
    random, reader = Random(20261128), PacketReader(PAYLOAD_MAX)
    for _ in range(ROUNDS):
        payloads = []
        for _ in range(1 + random.below(4)):
            payload = random.bytes(random.below(PAYLOAD_MAX + 1))
            payloads.append(payload.replace(b"\x07", b"\0") if random.below(2) else payload.replace(b"\0", b"\x01"))
        data = b"".join([plain_packet(3, payload) for payload in payloads])
        assert data == b"".join([packet(3, payload) for payload in payloads])
        assert taken(reader, data, 1 + random.below(700)) == [(3, payload) for payload in payloads]
    assert reader.refused == 0


def test_byte_by_byte():
    reader = PacketReader(600)
    sent = [(1, b"x" * 600), (255, b""), (2, b"\0" * 5), (9, bytes(range(256)))]
    assert taken(reader, b"".join([packet(kind, payload) for kind, payload in sent]), 1) == sent
    assert (reader.packets, reader.refused) == (4, 0)


def test_a_packet_of_the_largest_size_is_taken_and_one_more_byte_is_refused():
    for payload in (b"x" * 300, b"\0" * 300):
        reader = PacketReader(300)
        assert taken(reader, packet(1, payload)) == [(1, payload)]
        assert taken(reader, packet(1, payload + b"x") + packet(2, b"next")) == [(2, b"next")]
        assert reader.refused == 1


def test_what_never_ends_is_refused_once_and_takes_no_memory():
    reader = PacketReader(100)
    size = len(reader.room())
    assert taken(reader, b"x" * 100000 + packet(1, b"after")) == [(1, b"after")]
    assert reader.refused == 1 and size == packet_bytes(100)


def test_cut_at_every_length_nothing_is_given_out_and_the_next_packet_is():
    data = packet(5, b"some\0thing" * 40)
    for cut in cuts(data[:-1]):  # with its last zero alone missing, the first one of what follows ends it
        reader = PacketReader(500)
        assert taken(reader, cut) == []
        assert taken(reader, packet(6, b"next")) == [(6, b"next")]
        assert reader.refused == (len(cut) > 1)


def test_with_any_bit_flipped_nothing_false_is_given_out_and_the_next_packet_is():
    payload = b"a\0b" + b"c" * 300
    follows = packet(6, b"next")
    for _, data in flips(packet(5, payload)):
        reader = PacketReader(500)
        found = taken(reader, data + follows)
        # The zeros around it only part it from others: with the first one gone it still may be whole.
        assert found in ([(6, b"next")], [(5, payload), (6, b"next")]), found
        assert len(found) == 2 or reader.refused >= 1


def test_with_any_byte_missing_or_put_in_the_next_packet_is_whole():
    data, follows = packet(5, b"a\0b" * 100), packet(6, b"next")
    for at in range(len(data)):
        for byte in (b"", b"\0", b"\x05", b"\xff"):
            kept = data[:at] + byte + data[at if byte else at + 1 :]
            found = taken(PacketReader(500), kept + follows)
            assert found[-1] == (6, b"next") and all([one == (5, b"a\0b" * 100) for one in found[:-1]]), (at, byte)


def test_noise_between_packets_costs_no_packet():
    random, reader = Random(77), PacketReader(400)
    for _ in range(ROUNDS):
        noise = random.bytes(random.below(900))
        payload = random.bytes(random.below(401))
        assert taken(reader, noise + packet(4, payload), 1 + random.below(300)) == [(4, payload)]
    assert reader.refused > ROUNDS // 2


def test_clear_forgets_what_came():
    reader = PacketReader(100)
    whole = packet(1, b"hello")
    assert taken(reader, whole[:4]) == []
    reader.clear()
    assert taken(reader, whole) == [(1, b"hello")] and reader.refused == 0
    assert len(packet(1, b"")) <= BODY_BYTES_MIN + 3


def test_what_does_not_fit_is_refused():
    raises(UsageError, encode_into, 1, b"x" * 10, bytearray(packet_bytes(10) - 1))
    reader = PacketReader(10)
    raises(UsageError, reader.filled, len(reader.room()) + 1)
    raises(UsageError, reader.filled, -1)
