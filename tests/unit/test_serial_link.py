"""A board's link over a serial line: a real Node and a real Hub, a gateway of this file, and a line that hurts bytes between them."""

import json

from harness import MICROPYTHON, Random
from streamline_board import carrier
from streamline_board.serial_link import SerialLink
from streamline_core import ask
from streamline_core import serial_packets as packets
from streamline_core.serial_framing import PacketReader, encode_into, packet_bytes
from world import World, produce

try:
    from micropython import heap_lock, heap_unlock
except ImportError:  # CPython, where there is always memory

    def heap_lock():
        pass

    heap_unlock = heap_lock

RECORDS = 60 if MICROPYTHON else 300


class Stream:
    """The board's end of a line in memory. takes: bytes that a write takes at most; hurt_up, hurt_down: one of so many bytes is dropped,
    changed, or joined by another; 0: none."""

    def __init__(self, random):
        self.random = random
        self.takes = 100
        self.hurt_up = self.hurt_down = 0
        self.up, self.down = bytearray(), bytearray()
        self.writes = self.closed = 0

    def readinto(self, buf):
        if not self.down:
            return None
        count = min(len(buf), len(self.down))
        buf[:count] = self.down[:count]
        self.down = self.down[count:]
        return count

    def write(self, data):
        self.writes += 1
        if self.writes % 5 == 0:
            return None
        count = min(len(data), self.takes)
        self.up.extend(self.hurt(bytes(data[:count]), self.hurt_up))
        return count

    def hurt(self, data, hurt_bytes):
        if not hurt_bytes:
            return data
        out = bytearray()
        for byte in data:
            chance = self.random.below(hurt_bytes * 3)
            if chance == 1:
                out.extend(bytes([byte, self.random.below(256)]))
            elif chance == 2:
                out.append(byte ^ 1 << self.random.below(8))
            elif chance:
                out.append(byte)
        return bytes(out)

    def close(self):
        self.closed += 1


class Line:
    """What SerialLink opens."""

    baud = 0
    reopens = False

    def __init__(self, random):
        self.stream = Stream(random)
        self.opened = 0
        self.absent = False

    def open(self):
        if self.absent:
            raise OSError("no such line")
        self.opened += 1
        return self.stream


class NoPoll:
    def register(self, stream, events):
        pass

    modify = register

    def unregister(self, stream):
        pass


class Gateway:
    """The other end: it knows the board of the last greeting, and hands frames to and from the hub."""

    def __init__(self, world, stream):
        self.world, self.stream = world, stream
        self.reader = PacketReader(65536)
        self.greetings = []
        self.pieces = []  # of answers
        self.life, self.connection, self.reason = 0, 7, ""
        self.online, self.boot = None, ""
        self.mute = False
        self.state_at_ms = 0

    def say(self, kind, payload):
        if not self.mute:
            buf = bytearray(packet_bytes(len(payload)))
            self.stream.down.extend(self.stream.hurt(bytes(buf[: encode_into(kind, payload, buf)]), self.stream.hurt_down))

    def say_state(self):
        self.state_at_ms = self.world.clock.monotonic + packets.STATE_MS
        known = self.connection if self.life else 0
        said = packets.LineState(self.life, known, self.reason, self.online, self.boot)
        self.say(packets.STATE, packets.encode_state(said))

    def turn(self):
        data, self.stream.up = self.stream.up, bytearray()
        at = 0
        while at < len(data):
            room = self.reader.room()
            size = min(len(room), len(data) - at)
            room[:size] = data[at : at + size]
            self.reader.filled(size)
            at += size
            self.take()
        while True:
            row = self.world.hub.next_frame()
            if row is None:
                break
            self.say(packets.FRAME, bytes(row[1]))
        if self.world.clock.monotonic >= self.state_at_ms:
            self.say_state()

    def take(self):
        while True:
            kind = self.reader.next_packet()
            if not kind:
                return
            if kind == packets.GREETING:
                said = packets.decode_greeting(self.reader.payload)
                self.greetings.append(said)
                if said.life != self.life:
                    self.life = said.life
                    self.say_state()
            elif kind == packets.FRAME and self.life:
                self.world.hub.receive("e1", bytes(self.reader.payload))
            elif kind == packets.SAY:
                self.pieces.append(bytes(self.reader.payload))


class SerialWorld(World):
    """One board behind a line."""

    def __init__(self, seed=1):
        super().__init__(seed)
        self.board = self.edge("e1", cloud_endpoint="serial://1")
        self.line = Line(self.random)
        self.stream = self.line.stream
        self.gateway = Gateway(self, self.stream)
        self.start_link()

    def start_link(self):
        self.link = SerialLink(self.board.config, self.board.node, self.board.clock, self.entropy, NoPoll(), self.line)

    def step(self, ms=5):
        self.link.turn()
        self.gateway.turn()
        self.link.turn()
        super().step(ms)

    @property
    def state(self):
        return self.board.node.status()["state"]


def up(seed=1):
    world = SerialWorld(seed)
    world.run_until(lambda: world.state == "open", 5000)
    return world


def test_records_arrive_once_and_in_order_though_the_line_hurts_bytes_both_ways():
    refused = [0, 0]
    for seed in (1, 2, 3):
        world = SerialWorld(seed)
        world.stream.hurt_up, world.stream.hurt_down = 1000, 200
        values = []
        for _ in range(6):
            values += produce(world.board, RECORDS // 6, len(values))
            world.run(300)
        world.run_until(world.drained, 600000)
        assert world.values() == [values]
        refused[0] += world.gateway.reader.refused
        refused[1] += world.link.counters()["packets_refused"]
    assert min(refused) > 2, refused


def test_a_board_greets_until_it_is_known_and_then_once_for_each_state():
    world = SerialWorld()
    world.gateway.mute = True
    world.run(5000)
    assert 4 <= len(world.gateway.greetings) <= 6 and world.state == "offline"
    said = world.gateway.greetings[0]
    assert (said.node_id, said.fleet, said.version) == ("e1", "default", 1)
    assert said.payload_bytes_max == max(4096, packets.CONTROL_BYTES_MAX)
    world.gateway.mute = False
    world.run_until(lambda: world.state == "open", 5000)
    before = len(world.gateway.greetings)
    world.run(20000)
    assert 9 <= len(world.gateway.greetings) - before <= 11


def test_a_gateway_that_starts_anew_is_greeted_at_once_and_nothing_is_lost():
    world = up()
    values = produce(world.board, 50)
    world.run_until(world.drained)
    world.gateway = Gateway(world, world.stream)
    values += produce(world.board, 50, 50)
    world.run(20)
    assert world.gateway.life == world.link._life
    world.gateway.connection = 9
    world.run_until(world.drained)
    assert world.values() == [values] and world.state == "open"


def test_a_board_that_starts_anew_is_another_life():
    world = up()
    first = world.gateway.life
    world.board.power_cut()
    world.start_link()
    world.run_until(lambda: world.state == "open", 5000)
    assert world.gateway.life not in (0, first)


def test_silence_takes_the_link_down_and_its_end_brings_it_back():
    world = up()
    world.gateway.mute = True
    world.run_until(lambda: world.state == "offline", packets.SILENT_MS + 100)
    assert "nothing was heard" in world.board.node.status()["why"]
    assert world.line.opened == 1  # a UART is not better for being opened again
    world.gateway.mute = False
    world.run_until(lambda: world.state == "open", 10000)


def test_a_line_that_can_be_reopened_is_when_nothing_is_heard():
    world = SerialWorld()
    world.line.reopens = True
    world.run_until(lambda: world.state == "open", 5000)
    world.gateway.mute = True
    world.run_until(lambda: world.state == "offline", packets.SILENT_MS + 100)
    assert world.stream.closed == 1
    world.gateway.mute = False
    world.run_until(lambda: world.state == "open", 30000)
    assert world.line.opened >= 2


def test_a_gateway_without_a_broker_says_why():
    world = SerialWorld()
    world.gateway.connection, world.gateway.reason = 0, "no broker at 10.0.0.1"
    world.run(5000)
    assert world.state == "offline" and world.board.node.status()["why"] == "the gateway: no broker at 10.0.0.1"
    world.gateway.connection = 8
    world.run_until(lambda: world.state == "open", 5000)
    world.gateway.connection = 0
    world.run_until(lambda: world.state == "offline", 5000)


def test_another_connection_of_the_gateway_is_another_link():
    world = up()
    sessions = world.board.node.status()["counters"]["sessions"]
    world.gateway.connection += 1
    world.run(4000)
    assert world.state == "open" and world.board.node.status()["counters"]["sessions"] == sessions + 1


def test_what_the_hub_says_reaches_the_node_and_is_told_once():
    world = up()
    world.gateway.online, world.gateway.boot = False, ""
    world.run_until(lambda: world.state == "connecting", 5000)
    world.gateway.online, world.gateway.boot = True, "".join(["%02x" % b for b in world.hub.boot])
    world.run_until(lambda: world.state == "open", 10000)
    sessions = world.board.node.status()["counters"]["sessions"]
    world.run(10000)
    assert world.board.node.status()["counters"]["sessions"] == sessions


def test_nothing_is_believed_of_a_gateway_that_answers_somebody_else():
    world = SerialWorld()
    world.gateway.mute = True
    world.run(100)
    world.gateway.mute = False
    for _ in range(3):
        said = packets.encode_state(packets.LineState(world.link._life + 1, 5, "", True, "ab"))
        world.gateway.say(packets.STATE, said)
        world.gateway.say(packets.FRAME, b"a frame of another board")
        world.gateway.mute = True
        world.run(50)
        world.gateway.mute = False
        assert world.state == "offline"
    assert world.board.node.status()["counters"]["frames_in"] == 0


def test_packets_that_say_nothing_we_know_are_counted_and_passed_over():
    world = up()
    said = ((packets.STATE, b""), (packets.STATE, b"\x80"), (packets.STATE, b"\xff" * 800), (99, b"later"), (packets.FRAME, b""))
    for kind, payload in said:
        world.gateway.say(kind, payload)
    world.run(20)
    assert world.link.reader.refused == 3 and world.state == "open"
    assert world.board.node.status()["counters"]["refused_frames"] == 1


class FullHeap:
    """As the interpreter's gc, of a heap that has no room."""

    @staticmethod
    def collect():
        pass

    @staticmethod
    def mem_free():
        return 100


def test_who_asks_a_board_that_has_no_memory_to_answer_is_told_so():
    world = up()
    before, carrier.gc = carrier.gc, FullHeap
    nonsense = (b"", b"[]", b"{}", b'{"id": 7, "op": "x"}', b'{"id": "a b", "op": "x"}', b"\xff" * 700, b'{"id": "x"}' + b" " * 300)
    try:
        for question in (b'{"id": "q-1", "op": "status"}',) + nonsense:
            world.gateway.say(packets.ASK, question)
            world.run(carrier.ASK_MS + 20)
    finally:
        carrier.gc = before
    (piece,) = world.gateway.pieces
    head, text = piece.split(b"\n")
    assert json.loads(head) == {"id": "q-1", "piece": 0, "last": True, "error": "other"}
    assert piece == ask._head("q-1", 0, True, "other") + carrier.NO_ANSWER and carrier.REQUEST_BYTES_MAX == ask.REQUEST_BYTES_MAX
    assert text == b"no memory for this answer now; ask again"
    assert world.state == "open" and world.link.reader.refused == 0


def test_at_most_one_packet_waits_to_be_written():
    world = up()
    produce(world.board, RECORDS)
    world.stream.takes = 0
    for _ in range(20):
        world.link.turn()
        world.board.settle()
    sent = world.board.node.status()["counters"]["frames_out"]
    for _ in range(20):
        world.link.turn()
    assert world.board.node.status()["counters"]["frames_out"] == sent
    world.stream.takes = 100
    world.run_until(world.drained)


def test_a_line_that_is_absent_is_tried_again_with_waits():
    world = SerialWorld()
    world.line.absent = True
    world.run(1000)
    assert world.state == "offline" and "no such line" in world.board.node.status()["why"]
    world.line.absent = False
    world.run_until(lambda: world.state == "open", 120000)


def test_a_line_that_there_was_no_memory_to_begin_is_closed_and_opened_again():
    world = SerialWorld()
    begin, left = world.link._begun, [1]

    def scarce(now_ms):
        if left[0]:
            left[0] -= 1
            raise MemoryError
        begin(now_ms)

    world.link._begun = scarce
    world.run_until(lambda: world.state == "open", 120000)
    assert (world.line.opened, world.stream.closed, world.board.node.memory_errors) == (2, 1, 1)


class Unsaid(OSError):
    """An error that there is no memory to tell."""

    def __str__(self):
        raise MemoryError


def test_a_line_that_breaks_is_opened_again_though_there_is_no_memory_to_say_why():
    world = up()
    tick, left = world.link._tick, [1]

    def broken(now_ms):
        if left[0]:
            left[0] -= 1
            raise Unsaid(5)
        tick(now_ms)

    world.link._tick = broken
    world.run(5)
    assert world.stream.closed == 1 and world.board.node.status()["why"] == "no memory"
    world.run_until(lambda: world.state == "open", 120000)
    assert world.line.opened == 2


def test_a_line_is_closed_when_there_is_no_memory_at_all():
    world = up()
    tick, close = world.link._tick, world.stream.close

    def scarce(now_ms):
        world.link._tick = tick
        heap_lock()
        raise MemoryError

    def closed():
        heap_unlock()
        close()

    world.link._tick, world.stream.close = scarce, closed
    world.run(5)
    assert world.stream.closed == 1
    world.stream.close = close
    world.run_until(lambda: world.state == "open", 120000)


def test_states_and_greetings_are_read_as_they_were_said():
    said = packets.decode_state(packets.encode_state(packets.LineState(5, 6, "x" * 300, None, "ab12")))
    assert (said.life, said.connection, said.reason, said.online, said.boot) == (5, 6, "x" * packets.TEXT_CHARS_MAX, None, "ab12")
    greeting = packets.decode_greeting(packets.encode_greeting(packets.Greeting(7, "n", "f", 4096)))
    assert (greeting.life, greeting.node_id, greeting.fleet, greeting.payload_bytes_max) == (7, "n", "f", 4096)
    assert packets.payload_bytes_of(115200) > 28000 and packets.payload_bytes_of(9600) < 2400


def test_random_bytes_on_the_line_end_nothing():
    random = Random(5)
    world = up()
    for _ in range(40):
        world.stream.down.extend(random.bytes(200) + b"\0")
        world.run(10)
    assert world.state == "open" and world.link.reader.refused > 20
