"""The other end of a soak: the real hub of the core behind as much of an MQTT broker as one client needs, in one process and one time.

Rule: what arrives is checked record by record, and counted; nothing is waited for: `pump` takes what is there, and answers. Must not know:
who is at the other end of the socket, or what it is measured for.
"""

import os
import socket
import struct
from typing import Any

from streamline_core import mqtt_packets as packets
from streamline_core.batch import batches, records
from streamline_core.hub import Hub
from streamline_core.hub_config import HubConfig
from streamline_core.store_ops import ChunkReceived, GapReceived, NodeSeen, StreamState, TopicDefined
from streamline_host.codecs import codecs

WALL_MS = 1_800_000_000_000
READ_BYTES = 65536
WRITES_PER_TURN_MAX = 1000


class Clock:
    """Time as the soak says."""

    def __init__(self) -> None:
        self.now_ms = 0

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return WALL_MS + self.now_ms

    def zone_ms(self, wall_ms: int) -> int:
        return 0


class Entropy:
    def fill(self, buf: Any) -> None:
        buf[:] = os.urandom(len(buf))


class CountingStore:
    """A Store that keeps no record: it checks that the numbers in them rise, without a repeat, and counts. lost: by cause."""

    def __init__(self) -> None:
        self.count = 0
        self.highest = -1
        self.lost: dict[str, int] = {}
        self.states: dict[Any, StreamState] = {}
        self._topics: dict[str, Any] = {}
        self._nodes: dict[str, bytes] = {}
        self._codecs = codecs("zstd")
        self._ticket = 0
        self._done: list[int] = []

    def load_topic(self, topic: str) -> Any:
        return self._topics.get(topic)

    def load_stream(self, stream: Any) -> StreamState | None:
        state = self.states.get(stream.key())
        return state.copy() if state is not None else None

    def load_epochs(self, origin: str, topic: str, partition: int) -> list[int]:
        return [key[3] for key in self.states if key[:3] == (origin, topic, partition)]

    def load_node(self, node: str) -> bytes | None:
        return self._nodes.get(node)

    def load_head(self, topic: str, partition: int) -> tuple[int, list[tuple[int, int]]]:
        return 0, []

    def load_tombstones(self, before_ms: int, count_max: int) -> list[Any]:
        return []

    def commit(self, ops: Any) -> int:
        self._ticket += 1
        for op in ops:
            if isinstance(op, NodeSeen):
                self._nodes[op.node] = op.storage_id
            elif isinstance(op, TopicDefined):
                self._topics[op.topic] = op.definition
            elif hasattr(op, "state"):
                if isinstance(op, ChunkReceived):
                    self._take(op)
                elif isinstance(op, GapReceived):
                    self.lost[op.cause] = self.lost.get(op.cause, 0) + op.next - op.first
                self.states[op.stream.key()] = op.state
        self._done.append(self._ticket)
        return self._ticket

    def _take(self, op: ChunkReceived) -> None:
        content = self._codecs.by_id(op.codec_id).decompress(op.data, op.raw_bytes)
        for header, batch in batches(bytes(content)):
            for record in records(header, batch):
                if record.offset >= op.first:
                    number = int(bytes(record.value)[:10])
                    if number <= self.highest:
                        raise RuntimeError("record %d arrived after %d" % (number, self.highest))
                    self.highest = number
                    self.count += 1

    def completed(self) -> list[int]:
        done, self._done = self._done, []
        return done


class FarEnd:
    """node: the name of the only client. It listens at once; `cut` and `mend` are an outage and its end."""

    def __init__(self, node: str) -> None:
        self.clock = Clock()
        self.store = CountingStore()
        self.hub = Hub(HubConfig(), self.clock, Entropy(), self.store, codecs("zstd"))  # type: ignore[arg-type]
        self.hub.open()
        self.sessions = 0
        self._node = node
        self._rx = "streamline/1/default/n/%s/rx" % node
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._client: socket.socket | None = None
        self._in = bytearray()
        self._out = bytearray()
        self._cut = False

    def cut(self) -> None:
        """The network is gone: the connection ends, and no other one is accepted."""
        self._cut = True
        self._drop()

    def mend(self) -> None:
        self._cut = False

    def close(self) -> None:
        self._drop()
        self._listener.close()

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
            self.hub.node_status(self._node, False)
        self._in.clear()
        self._out.clear()

    def pump(self, now_ms: int) -> None:
        """Take what has arrived, and answer."""
        self.clock.now_ms = now_ms
        self._accept()
        if self._client is not None:
            self._read()
        self.hub.tick()
        for ticket in self.store.completed():
            self.hub.committed(ticket)
        while (row := self.hub.next_frame()) is not None:
            if self._client is not None:
                self._out += packets.publish_head(self._rx, 0, len(row[1]), 0, False) + row[1]
        self._write()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        if self._cut:
            client.close()
            return
        self._drop()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self.sessions += 1

    def _read(self) -> None:
        assert self._client is not None
        try:
            for _ in range(WRITES_PER_TURN_MAX):
                # What the board writes in small pieces waits for the acknowledgement of the first (Nagle), and that would come late: in a
                # time that is injected, hours late.
                self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                piece = self._client.recv(READ_BYTES)
                if not piece:
                    self._drop()
                    return
                self._in += piece
        except BlockingIOError:
            pass
        except OSError:
            self._drop()
            return
        while (whole := self._packet()) is not None:
            self._take(*whole)

    def _packet(self) -> tuple[int, bytes] | None:
        """The next whole packet: its first byte, and what follows its length."""
        length, at = 0, 1
        while True:
            if at >= len(self._in):
                return None
            length |= (self._in[at] & 127) << 7 * (at - 1)
            at += 1
            if self._in[at - 1] < 128:
                break
        if len(self._in) < at + length:
            return None
        first, body = self._in[0], bytes(self._in[at : at + length])
        del self._in[: at + length]
        return first, body

    def _take(self, first: int, body: bytes) -> None:
        kind = first & 0xF0
        if kind == 0x10:
            self._out += bytes((packets.CONNACK, 2, 0, 0))
        elif kind == packets.SUBSCRIBE & 0xF0:
            self._out += bytes((packets.SUBACK, 3)) + body[:2] + body[-1:]
        elif kind == 0xC0:
            self._out += bytes((packets.PINGRESP, 0))
        elif kind == packets.PUBLISH:
            length = struct.unpack_from(">H", body)[0]
            topic, rest = body[2 : 2 + length], body[2 + length :]
            if first & 6:
                self._out += packets.puback_packet(struct.unpack_from(">H", rest)[0])
                rest = rest[2:]
            if topic.endswith(b"/tx"):
                self.hub.receive(self._node, rest)
            elif topic.endswith(b"/status"):
                self.hub.node_status(self._node, b"true" in rest)

    def _write(self) -> None:
        if self._client is None or not self._out:
            return
        try:
            n = self._client.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self._drop()
            return
        del self._out[:n]
