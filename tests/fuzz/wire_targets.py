"""What comes over a wire, before any session: CBOR, frames, compressed payloads, MQTT packets.

Rule: the two CBORs cannot be told apart; what is decoded encodes to the same bytes; a codec gives exactly what was promised; and how a
stream was cut into pieces does not show. Must not know: what frames are for.
"""

from typing import Any

from fuzz.batch_targets import CODECS, vectors
from fuzz.fields import Fields, Script
from fuzz.frame_making import DEFINITION, NODE, TOPIC, frame_from, write_data, write_frame
from fuzz.target import REFUSED, Target, attempt, same
from streamline_core import cbor, cbor_plain, frames
from streamline_core.codec import NAMES
from streamline_core.errors import ProtocolError, UsageError
from streamline_core.frames import HAVE, WANT
from streamline_core.mqtt import MqttClient

PACKET_BYTES_MAX = 1024
CONNACK = b"\x20\x02\x00\x00"
RAW_BYTES = (0, 1, 100, 4096, frames.RAW_BYTES_MAX)


def run_cbor(data: bytes) -> None:
    """Both implementations: the same value, which encodes to these very bytes, or the same refusal."""
    one = attempt(ProtocolError, cbor.decode, data)
    two = attempt(ProtocolError, cbor_plain.decode, data)
    assert (one is REFUSED) == (two is REFUSED), (one, two)
    if one is not REFUSED:
        assert same(one, two)
        assert cbor.encode(one) == cbor_plain.encode(one) == data
    if cbor is not cbor_plain:
        bytearray(data)  # a decoder keeps nothing of its input: a memoryview of a bytearray could not be resized
        shared = bytearray(data)
        kept = attempt(ProtocolError, cbor_plain.decode, shared)
        shared += b"x"
        assert kept is REFUSED or same(kept, two)


def cbor_seeds() -> list[bytes]:
    odd = "f93c00 a10102 c11a514b67b0 9f01ff 1817 5f4101ff d823816161 7f6161ff f7 62c080 63eda080 d81c81d81d00 d8236161".split()
    nested = bytes.fromhex("81" * 8 + "00")
    golden = [row["hex"] for row in vectors("cbor.json")]
    return [*map(bytes.fromhex, golden + odd), nested, b"\x81" + nested]


def run_value(data: bytes) -> None:
    """A value of any shape: both encode it alike or refuse it alike, and read it back."""
    value = Fields(data).value()
    one, two = attempt(UsageError, cbor.encode, value), attempt(UsageError, cbor_plain.encode, value)
    assert same(one, two)
    if one is not REFUSED:
        assert same(cbor.decode(one), value) and same(cbor_plain.decode(one), value)


def value_seeds() -> list[bytes]:
    values: list[Any] = [[1, -1, b"\0", "m\u00e4", [True, False, None]], [[[[[[[[1]]]]]]]], [1 << 63, -(1 << 63), (1 << 64) - 1]]
    return [bytes(Script().value(value)) for value in values]


def check_frame(data: bytes) -> None:
    frame = attempt(ProtocolError, frames.decode, data)
    if frame is REFUSED:
        return
    assert len(frame.session) == 8 and frame.type == data[0]
    if frame.type == frames.DATA:
        assert bytes(frame.payload) == data[24:] and frame.fields[2] <= frames.RAW_BYTES_MAX
        head = bytearray(frames.DATA_HEADER_BYTES)
        handle, codec, raw_bytes, first = frame.fields
        frames.pack_data_header(head, frame.session, handle, codec, raw_bytes, first)
        assert bytes(head) == data[:24]
        return
    # Later builds may append: then it is shorter, and says the same.
    again = frames.encode(frame.type, frame.session, frame.fields)
    assert len(again) <= len(data) and same(frames.decode(again).fields, frame.fields)


def run_frame(data: bytes) -> None:
    """The bytes are a frame; in a buffer of another kind it is the same one."""
    check_frame(data)
    kinds = [attempt(ProtocolError, frames.decode, kind) for kind in (data, bytearray(data), memoryview(data))]
    assert all((kind is REFUSED) == (kinds[0] is REFUSED) for kind in kinds)
    assert kinds[0] is REFUSED or all(same(kind.fields, kinds[0].fields) for kind in kinds)


def frame_seeds() -> list[bytes]:
    return [bytes.fromhex(row["hex"]) for row in vectors("frames.json")]


def run_shaped_frame(data: bytes) -> None:
    """Frames near their shapes, so that what is behind the types is reached."""
    fields = Fields(data)
    while fields.left:
        check_frame(frame_from(fields, b"8 bytes!"))


def shaped_frame_seeds() -> list[bytes]:
    have = write_frame(Script(), HAVE, (1, [(0, 0, 9, 0, TOPIC, 0, NODE, 5, DEFINITION, [(7, 0)], None)]))
    want = write_frame(Script(), WANT, (1, 1, [(0, 1, [("corrupt", 1)], 65536, False, [(7, 0)])]))
    return [bytes(have), bytes(want), bytes(write_data(Script(), 0, 0, [b"one"]))]


def run_codec(data: bytes) -> None:
    """Any bytes as a compressed payload, for any promised length: exactly that many bytes, or ProtocolError."""
    fields = Fields(data)
    how = fields.byte()
    raw_bytes = fields.unsigned(20) if how & 128 else RAW_BYTES[(how >> 2) % len(RAW_BYTES)]
    payload = fields.rest()
    for codec_id in range(len(NAMES)):
        raw = attempt(ProtocolError, CODECS.by_id(codec_id).decompress, memoryview(payload), raw_bytes)
        assert raw is REFUSED or len(raw) == raw_bytes, (codec_id, raw_bytes)
    attempt(ProtocolError, CODECS.by_id, how)


def codec_seeds() -> list[bytes]:
    seeds = []
    for raw in (b"", b"edge " * 20, bytes(range(100))):
        for codec_id in range(len(NAMES)):
            seeds.append(bytes(Script().byte(128).number(len(raw)).raw(bytes(CODECS.by_id(codec_id).compress(raw)))))
    bomb = bytes(4096)
    return seeds + [bytes(Script().byte(2 << 2).raw(bytes(CODECS.by_id(i).compress(bomb)))) for i in (1, 2)]


def client_events(pieces: list[bytes], clean: bool) -> tuple[Any, ...]:
    """All that a connected client makes of bytes that come in these pieces, then what it wants written, and its state."""
    client = MqttClient("node", 60, clean_session=clean, packet_bytes_max=PACKET_BYTES_MAX)
    client.publish("t", b"kept", 1)
    client.connect(0)
    events: list[Any] = []
    error = None
    for at, piece in enumerate(pieces):
        try:
            client.receive(piece, at)
            while (event := client.next_event()) is not None:
                if event[0] == "message":
                    event = (*event[:2], bytes(event[2]), *event[3:])
                events.append(event)
                if event[0] == "connected":
                    client.subscribe("a/+")
        except ProtocolError as problem:
            error = str(problem)
            assert not client.connected
    written = bytearray()
    while (out := client.data_to_send()) is not None:
        written += out
        client.sent(len(out))
    assert client.unsent_bytes == 0
    client.tick(1 << 30)
    return events, error, bytes(written), client.state


def run_mqtt(data: bytes) -> None:
    """The bytes are what a broker sends: whole, byte by byte and in pieces that they choose themselves, it is the same."""
    fields = Fields(data)
    flags = fields.byte()
    begin = b"" if flags & 1 else CONNACK
    stream = begin + fields.rest()
    if not stream:
        return
    whole = client_events([stream], flags & 2 == 0)
    cut = 1 + flags // 4
    for size in (1, cut):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert client_events(pieces, flags & 2 == 0) == whole, "it matters how it was cut into pieces of %d" % size


def mqtt_seeds() -> list[bytes]:
    speech = (
        b"\xd0\x00", b"\x30\x04\x00\x01tx", b"\x31\x05\x00\x03a/b", b"\x32\x08\x00\x01t\x12\x34abc", b"\x3a\x06\x00\x01t\x00\x07d",
        b"\x30\xcb\x01\x00\x01t" + b"z" * 200, b"\x90\x03\x00\x02\x01", b"\x40\x02\x00\x01",
    )  # fmt: skip
    own = [b"\x01" + CONNACK, b"\x03\x20\x02\x01\x00", b"\x01\x20\x02\x00\x05", b"\x00\x30\x80\x00", b"\x04\x30\xff\xff\xff\xff\x7f"]
    return [b"\x20" + b"".join(speech), *(b"\x0c" + packet for packet in speech), *own]


TARGETS = (
    Target("cbor", run_cbor, cbor_seeds, "cbor and cbor_plain: the same value or the same refusal, and the same bytes again"),
    Target("value", run_value, value_seeds, "both encoders of CBOR on values of any shape"),
    Target("frame", run_frame, frame_seeds, "frames.decode and encode on raw bytes"),
    Target("shapedframe", run_shaped_frame, shaped_frame_seeds, "the same on frames near their shapes"),
    Target("codec", run_codec, codec_seeds, "decompress of every codec of a host, for any promised length"),
    Target("mqtt", run_mqtt, mqtt_seeds, "the small MQTT client: events do not depend on how the bytes are cut"),
)
