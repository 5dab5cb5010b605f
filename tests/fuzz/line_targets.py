"""What comes over a serial line: packets between zeros, greetings and states.

Rule: how a stream was cut into pieces does not show; what is given out was written by `encode_into`, and what was written is given out,
whatever came before; numbers and texts are within their bounds. Must not know: frames.
"""

from fuzz.fields import Fields
from fuzz.target import REFUSED, Target, attempt
from streamline_core import serial_packets as packets
from streamline_core.errors import ProtocolError
from streamline_core.serial_framing import PacketReader, encode_into, packet_bytes

PAYLOAD_BYTES_MAX = 700
MARK = b"what\0follows" + b"x" * 300


def packet(kind: int, payload: bytes) -> bytes:
    buf = bytearray(packet_bytes(len(payload)))
    return bytes(buf[: encode_into(kind, payload, buf)])


def read(data: bytes, piece_bytes: int) -> tuple[list[tuple[int, bytes]], int]:
    """What a reader gives out of `data` in such pieces, and how many packets it refused."""
    reader, found, at = PacketReader(PAYLOAD_BYTES_MAX), [], 0
    while at < len(data):
        room = reader.room()
        assert 0 < len(room) <= packet_bytes(PAYLOAD_BYTES_MAX)
        size = min(len(room), piece_bytes, len(data) - at)
        room[:size] = data[at : at + size]
        reader.filled(size)
        at += size
        while kind := reader.next_packet():
            found.append((kind, bytes(reader.payload)))
    assert reader.packets == len(found)
    return found, reader.refused


def run_line(data: bytes) -> None:
    piece_bytes = 1 + (data[0] if data else 0)
    one, two = read(data, piece_bytes), read(data, 1)
    assert one == two
    for kind, payload in one[0]:
        assert kind and len(payload) <= PAYLOAD_BYTES_MAX and packet(kind, payload).strip(b"\0") in data
    assert read(data + packet(9, MARK), 256)[0][-1] == (9, MARK)  # its first zero ends whatever came before


def line_seeds() -> list[bytes]:
    bodies = (b"", b"\0", b"a" * 253, b"b" * 254, b"c" * 255, b"\0" * 300, bytes(range(256)) * 2, b"d" * PAYLOAD_BYTES_MAX)
    rows = [packet(1 + i, body) for i, body in enumerate(bodies)]
    return [*rows, b"".join(rows[:6]), b"noise" + rows[3] + b"\xff" * 900 + rows[4]]


def run_packet(data: bytes) -> None:
    """Any payload of any kind comes out as it went in."""
    fields = Fields(data)
    kind, zeros = 1 + fields.below(255), fields.byte()
    payload = fields.rest()[:PAYLOAD_BYTES_MAX].replace(bytes([zeros]), b"\0")
    whole = packet(kind, payload)
    assert len(whole) <= packet_bytes(len(payload)) and whole[0] == whole[-1] == 0 and 0 not in whole[1:-1]
    assert read(whole, 100) == ([(kind, payload)], 0)


def packet_seeds() -> list[bytes]:
    return [bytes([3, 7]) + body for body in (b"", b"\x07" * 300, b"x" * 254, b"y" * 600 + b"\x07", bytes(range(256)))]


def run_gateway(data: bytes) -> None:
    """Greetings and states: values within their bounds that are said as they were heard, or ProtocolError."""
    greeting = attempt(ProtocolError, packets.decode_greeting, data)
    if greeting is not REFUSED:
        again = packets.decode_greeting(packets.encode_greeting(greeting))
        assert vars(again) == vars(greeting) and greeting.life and max(len(greeting.node_id), len(greeting.fleet)) <= packets.TEXT_CHARS_MAX
    state = attempt(ProtocolError, packets.decode_state, data)
    if state is not REFUSED:
        assert vars(packets.decode_state(packets.encode_state(state))) == vars(state)
        assert max(len(state.reason), len(state.boot)) <= packets.TEXT_CHARS_MAX


def gateway_seeds() -> list[bytes]:
    states = [packets.LineState(1, 2, "why", True, "00ff"), packets.LineState(0, 0, "no broker"), packets.LineState(5, 6, "", False)]
    greeting = packets.encode_greeting(packets.Greeting(7, "board", "default", 4096))
    return [greeting, *map(packets.encode_state, states)]


TARGETS = (
    Target("serial", run_line, line_seeds, "the bytes of a serial line, in pieces of any size", bytes_max=2048),
    Target("packet", run_packet, packet_seeds, "packets of a serial line, there and back"),
    Target("gateway", run_gateway, gateway_seeds, "what a board and its gateway say of themselves", bytes_max=1024),
)
