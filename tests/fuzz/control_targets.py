"""What comes over the control socket: the requests that an agent reads, and the answers that its client does.

Rule: every request is answered, and a broken message ends its connection and nothing else. Must not know: what a request does.
"""

import asyncio
from typing import Any

from fuzz.target import Target
from harness import FakeClock, FakeEntropy, MemoryStorage
from streamline_core.codec import NONE, Codecs
from streamline_core.config import EdgeConfig
from streamline_core.errors import ProtocolError, QueueFull
from streamline_core.node import Node
from streamline_edge import control_wire
from streamline_edge.control_client import ControlClient
from streamline_edge.control_server import _Connection
from streamline_edge.keyed_topics import KeyedTopics
from streamline_edge.limited import Limited
from streamline_edge.readers import Readers
from world import WALL_MS, config_of


class _Writer:
    """What the control server writes to, and what a client makes of it."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    async def drain(self) -> None:
        await asyncio.sleep(0)


class _Agent(Readers, Limited, KeyedTopics):
    """As much of an agent as the control server asks for, over a node in memory whose disk is always done."""

    def __init__(self) -> None:
        self.config = EdgeConfig.from_dict(config_of("n", local_topics=[{"topic": "k", "kind": "keyed", "partitions": 2}]))
        self._running = False  # a watch ends when it has begun
        self.producer = self
        self.storage = MemoryStorage()
        self.node = Node(self.config, FakeClock(1000, WALL_MS), self.storage, FakeEntropy(3), Codecs(NONE))
        self.node.open()
        for i in range(3):
            self.node.produce("t", b"%d" % i, b"k")
        self.settle()

    def settle(self) -> None:
        for log in self.node.logs():
            log.commit()
        for ticket in self.storage.completed():
            self.node.synced(ticket)

    def durable(self, stream: Any, first: int, end: int) -> "asyncio.Future[int]":
        self.settle()
        done = asyncio.get_running_loop().create_future()
        done.set_result(first)
        return done

    def reached(self, ack: str, stream: Any, first: int, end: int) -> "asyncio.Future[int]":
        return self.durable(stream, first, end)

    def check_ack(self, topic: str, ack: str) -> None:
        self.node.log(topic)

    async def room(self, full: QueueFull) -> None:
        self.settle()

    async def accepted(self, hand_over: Any, *record: Any) -> Any:
        try:
            return hand_over(*record)
        except QueueFull as full:
            await self.room(full)
            return hand_over(*record)

    async def slices(self, topic: str, values: list[bytes], *more: int) -> Any:
        yield self.node.produce_many(topic, values, *more)

    def poke(self) -> None:
        self.settle()

    def resources(self) -> dict[str, Any]:
        return dict(self.node.resources.status())

    def acknowledge(self) -> int:
        return 0

    def limit(self, limits: dict[str, int], policy: str | None = None, reset: bool = False) -> None:
        self.node.resources.change(dict(limits))

    async def produce(self, topic: str, value: bytes, key: bytes) -> int:
        offset = self.node.produce(topic, value, key)[1]
        self.settle()
        return offset

    async def delete(self, topic: str, key: bytes) -> int:
        offset = self.node.delete(topic, key)[1]
        self.settle()
        return offset

    def offset_at(self, topic: str, partition: int, time_ms: int, feed: bool = False) -> int:
        return self.node.offset_at(topic, partition, time_ms)

    async def pieces(self, reader: Any, follow: bool) -> Any:
        while taken := reader.take():
            yield taken

    def status(self) -> dict[str, Any]:
        return dict(self.node.status())

    def ledger(self) -> list[Any]:
        return list(self.node.ledger())

    def report_health(self) -> dict[str, Any]:
        return {}

    def sync_now(self) -> None:
        self.node.link.sync_now()

    def pause(self) -> None:
        self.node.pause()

    def resume(self) -> None:
        self.node.resume()


def run_control(data: bytes) -> None:
    """What a process writes to the control socket: every request is answered, a broken message ends the connection by its error."""
    asyncio.run(_control(data))


async def _control(data: bytes) -> None:
    agent, reader, writer = _Agent(), asyncio.StreamReader(), _Writer()
    reader.feed_data(data)
    reader.feed_eof()
    connection = _Connection(agent, reader, writer)  # type: ignore[arg-type]
    try:
        await connection.run()
        raise AssertionError("a connection ended without a reason")
    except (asyncio.IncompleteReadError, ProtocolError):
        pass
    while connection._streams:
        await asyncio.gather(*connection._streams)
    connection.close()
    answers = client_messages([bytes(writer.written)])
    assert answers[1] is None and all("ok" in header or "error" in header or "more" in header for header, _ in answers[0])
    assert all(header.get("kind") != "internal" for header, _ in answers[0]), answers[0][-1]


def client_messages(pieces: list[bytes]) -> tuple[list[Any], str | None]:
    """What a client takes of bytes that come in these pieces, and how that ended."""
    client = object.__new__(ControlClient)
    client._received = bytearray()
    found: list[Any] = []
    try:
        for piece in pieces:
            client._received += piece
            while (message := client.take()) is not None:
                found.append(message)
    except ProtocolError as error:
        return found, str(error)
    return found, None


def run_client(data: bytes) -> None:
    """What an agent writes to its client: whole or byte by byte, the same messages or the same ProtocolError."""
    whole = client_messages([data])
    assert client_messages([data[at : at + 1] for at in range(len(data))]) == whole


def control_seeds() -> list[bytes]:
    produce = {"op": "produce", "id": 1, "topic": "t", "partition": 0, "producer": 9, "sequence": 0, "sizes": [3, 0], "key_sizes": [1, -1]}
    messages = [
        control_wire.pack(produce, b"onek"),
        control_wire.pack({"op": "produce", "id": 2, "topic": "t", "sizes": [3, 2]}, b"onetw"),
        control_wire.pack({"op": "produce", "id": 2, "topic": "t", "sizes": [3], "ack": "cloud"}, b"one"),
        control_wire.pack({"op": "producer_last", "id": 3, "topic": "t", "partition": 0, "producer": 9}),
        control_wire.pack({"op": "consume", "id": 4, "topic": "t", "partition": 0, "from": 1}),
        control_wire.pack({"op": "consume", "id": 5, "topic": "t", "partition": 0, "from": 0, "time": 5}),
        control_wire.pack({"op": "sync", "id": 6, "action": "pause"}),
        control_wire.pack({"op": "acknowledge", "id": 6}),
        control_wire.pack({"op": "consume", "id": 7, "topic": "t", "partition": 0, "from": 0, "feed": True}),
        control_wire.pack({"op": "set", "id": 8, "topic": "k", "key_size": 2}, b"valueke"),
        control_wire.pack({"op": "watch", "id": 9, "topic": "k"}),
        control_wire.pack({"op": "limit", "id": 11, "storage": 1 << 20, "policy": "lru", "reset": True}),
        control_wire.pack({"op": "plan", "id": 12, "budget": 1000}),
        control_wire.pack({"op": "consume", "id": 13, "topic": "t", "partition": 0, "consumer": "a"})
        + control_wire.pack({"op": "commit", "id": 14, "topic": "t", "partition": 0, "consumer": "a", "epoch": 7, "offset": 2}),
        control_wire.pack({"op": "forget", "id": 15, "consumer": "a"}),
    ]
    for op in ("get", "delete", "keys", "conflicts", "explain"):
        messages.append(control_wire.pack({"op": op, "id": 10, "topic": "k"}, b"ke"))
    asked = ("status", "ledger", "health", "topics", "resources", "queue", "consumers", "?")
    every = b"".join(control_wire.pack({"op": op, "id": i}) for i, op in enumerate(asked))
    return [*messages, every]


TARGETS = (
    Target("control", run_control, control_seeds, "the control socket's server, on any bytes", costly=True),
    Target("client", run_client, control_seeds, "the control socket's client, whole and byte by byte"),
)
