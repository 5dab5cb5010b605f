"""A board behind a serial line: a real Node with its link, a real Hub, a gateway between them, and a line in memory that can hurt bytes.

Rule: the gateway writes packets by the core's own coder, and decides for itself whom it knows. Must not know: what a test promises.
"""

from harness import MICROPYTHON
from streamline_board.serial_link import SerialLink
from streamline_core import serial_packets as packets
from streamline_core.serial_framing import PacketReader, encode_into, packet_bytes
from world import World

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
