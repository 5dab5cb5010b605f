"""What a peer repeats, without reading what it is answered, takes bounded memory.

Rule: a flood is made of frames that a decoder takes and a session refuses or ignores; nobody reads what is queued for it. Must not
know: where the bounds stand.
"""

import tracemalloc
from collections.abc import Callable

import pytest

from fuzz import packing
from fuzz.fields import Fields
from fuzz.frame_making import DEFINITION, NODE, TOPIC, fields_of
from fuzz.session_targets import HubBench, LinkBench, check_good_hub, check_good_session, hello
from streamline_core import frames
from streamline_core.errors import ProtocolError
from streamline_core.frames import BYE, ERROR, HAVE, WANT, WELCOME
from streamline_core.handshake import session_id
from streamline_core.hub_streams import STREAMS_PER_NODE_MAX
from streamline_core.mqtt import MqttClient

MEMORY_BYTES_MAX = 384 << 10  # beyond what was there before
FRAMES = 40
ROWS = 200  # of a HAVE: about what the 4096 items of CBOR can hold


def grown(function: Callable[[], None]) -> int:
    """How many bytes of Python's memory a call leaves in use."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        function()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def have(session: bytes, number: int, topic: str, origin: str, epoch: int = 5, first_handle: int = 0) -> bytes:
    rows = [(first_handle + i, 0, 0, 0, topic, 0, origin, epoch + i, DEFINITION, [], None) for i in range(ROWS)]
    return frames.encode(HAVE, session, fields_of(HAVE, (number, rows)))


@pytest.mark.parametrize(
    "topic, origin", [("not a topic " * 20, NODE), (TOPIC, "somebody else")], ids=["refused topics", "another's streams"]
)
def test_what_a_hub_refuses(topic: str, origin: str) -> None:
    bench = HubBench()
    session = bench.greet(NODE, b"12345678")

    def flood() -> None:
        for number in range(FRAMES):
            bench.hub.receive(NODE, have(session, number + 1, topic, origin))

    assert grown(flood) < MEMORY_BYTES_MAX
    bench.take()
    check_good_session(bench)


def test_what_a_node_does_not_take() -> None:
    bench = LinkBench(True)
    bench.welcome(Fields(b""))
    bench.turn()

    def flood() -> None:
        for number in range(FRAMES):
            bench.node.link.receive(have(bench.session, number + 1, TOPIC, "cloud"))

    assert grown(flood) < MEMORY_BYTES_MAX
    bench.turn()
    check_good_hub(bench)


@pytest.mark.parametrize(
    "lost", [[("cause %d" % i, 1) for i in range(1300)], [("%02d" % i + "\u20ac" * 254, 1) for i in range(84)]], ids=["many", "long"]
)
def test_causes_of_loss_that_no_log_can_remember(lost: list[tuple[str, int]]) -> None:
    """A WANT as large as a frame: the node's state must still fit its slot, and its tick must not raise."""
    bench = LinkBench(True)
    for producer in range(1, 65):
        bench.node.produce(TOPIC, b"x", producer=producer, sequence=1 << 40)
    bench.turn()
    bench.welcome(Fields(b""))
    bench.turn()
    bench.node.link.receive(frames.encode(WANT, bench.session, fields_of(WANT, (1, 1, [(0, 1, lost, 65536, False, [])]))))
    bench.edge.clock.advance(10000)
    bench.turn()
    bench.node.close()
    bench.turn()
    name = bench.node.log(TOPIC).folder + "/state.%d"
    assert max(bench.edge.storage.size(name % i) for i in range(2)) <= 65536, "a state that no opening would read"
    check_good_hub(bench)


def test_greetings_that_nobody_follows() -> None:
    bench = HubBench()

    def flood() -> None:
        for i in range(FRAMES * 10):
            bench.hub.receive(NODE, hello(NODE, b"%08d" % i))
            bench.hub.receive(NODE, frames.encode(BYE, b"%08d" % i, ("x", 0)))

    assert grown(flood) < MEMORY_BYTES_MAX
    check_good_session(bench)


def test_an_error_says_no_more_than_a_frame_holds() -> None:
    """A greeting whose version is 60 KB long: the answer must be a frame."""
    bench = HubBench()
    bench.hub.receive(NODE, b"\x01" + bytes(8) + frames.cbor.encode([b"\xff" * 60000]))
    bench.take()
    assert [frame.type for frame in bench.heard[NODE]] == [ERROR]


@pytest.mark.parametrize("wall_ms", [1 << 47, 1 << 48, (1 << 63) - 1, (1 << 64) - 1])
def test_a_hub_that_says_an_impossible_time(wall_ms: int) -> None:
    bench = LinkBench(False)
    assert bench.hello is not None
    nonce, mine = bench.hello.fields[3], b"hubnonce"
    greeting = (1, "cloud", 1, mine, b"boot" * 2, [], 4096, 65536, [], "fuzz", nonce, wall_ms)
    bench.node.link.receive(frames.encode(WELCOME, session_id(nonce, mine), greeting))
    bench.turn()
    check_good_hub(bench)


def test_messages_that_are_never_acknowledged() -> None:
    client = MqttClient("node", 60, packet_bytes_max=1024)
    client.connect(0)
    client.receive(b"\x20\x02\x00\x00", 0)
    assert client.next_event() is not None

    def flood() -> None:
        for _ in range(FRAMES * 50):
            try:
                client.receive(b"\x32\x06\x00\x01t\x00\x07d", 0)
                while client.next_event() is not None:
                    pass
            except ProtocolError:
                pass

    assert grown(flood) < MEMORY_BYTES_MAX // 32
    assert not client.connected


def test_streams_without_end() -> None:
    """A node may name 2^32 epochs: the hub keeps so many of them in mind, says so, and goes on."""
    bench = HubBench()
    session = bench.greet(NODE, b"12345678")
    for i in range(2 * STREAMS_PER_NODE_MAX // ROWS):
        if i % 50 == 0:
            session = bench.greet(NODE, b"%08d" % i)
        bench.hub.receive(NODE, have(session, i + 1, TOPIC, NODE, 1 + i * ROWS, i % 50 * ROWS))
        bench.turn()
        assert len(bench.hub.streams.receivers) <= STREAMS_PER_NODE_MAX
    check_good_session(bench)


def test_batches_that_are_refused_are_not_kept_twice() -> None:
    """A stream of batches of a later version: each goes to the store once, and none stays."""
    bench = HubBench()
    session = bench.greet(NODE, b"12345678")
    row = (0, 0, 1 << 20, 0, TOPIC, 0, NODE, 5, DEFINITION, [], None)
    bench.hub.receive(NODE, frames.encode(HAVE, session, fields_of(HAVE, (1, [row]))))

    def flood() -> None:
        for i in range(FRAMES):
            payload = packing.batch(bytes(20000), 128, 1, 1, i)
            head = bytearray(frames.DATA_HEADER_BYTES)
            frames.pack_data_header(head, session, 0, 0, len(payload), i)
            bench.hub.receive(NODE, bytes(head) + payload)
            bench.turn()
            bench.store.quarantine.clear()
            bench.store.gaps.clear()
            bench.heard.clear()

    assert grown(flood) < MEMORY_BYTES_MAX
    check_good_session(bench)
