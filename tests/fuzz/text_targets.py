"""Text from people and from other programs: configurations, URLs of brokers, words of a command line, status messages, the control socket.

Rule: what is wrong is said by the documented error, in text that can be printed and never holds a password; a broken message ends its
connection and nothing else. Must not know: what a configuration does.
"""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from fuzz.fields import Fields, Script
from fuzz.target import REFUSED, Target, attempt
from harness import FakeClock, FakeEntropy, MemoryStorage
from streamline_cloud import bridge
from streamline_core.codec import NONE, Codecs
from streamline_core.config import ConfigError, EdgeConfig
from streamline_core.config_values import read_filter
from streamline_core.errors import ProtocolError, QueueFull, UsageError
from streamline_core.node import Node
from streamline_edge import config_file, control_wire, ingest, node_link, record_lines
from streamline_edge.config_reading import ConfigFileError
from streamline_edge.control_client import ControlClient
from streamline_edge.control_server import _Connection
from streamline_edge.keyed_topics import KeyedTopics
from streamline_edge.limited import Limited
from streamline_edge.line_producer import LineProducer
from streamline_edge.readers import Readers
from streamline_host.broker_url import BrokerUrl
from world import WALL_MS, config_of

KEYS = (
    "node_id", "fleet", "location", "lat", "lon", "name", "cloud_endpoint", "password_file", "data_dir", "sync", "enabled",
    "interval_secs", "compression", "bandwidth_limit", "retry", "initial_ms", "max_ms", "resources", "max_memory", "max_storage",
    "eviction_policy", "log", "segment_bytes", "batch_bytes", "buffer_bytes", "frame_bytes_max", "conflict_resolution", "broker",
    "broker_listen", "mesh", "max_peers", "sync_topics", "local_topics", "topic", "kind", "direction",
    "partitions", "priority", "strategy", "ingest", "from", "key", "edge",
)  # fmt: skip
VALUES = (
    "n", "t", "5s", "256MB", "4 GB", "mqtt://h", "mqtts://u:p@h:1", "embedded", "none", "topic", "log", "keyed", "a/+/#", "reject",
    True, False, None, -1, 1.5, float("inf"), float("nan"), 1 << 70, 10**5000, "x" * 2000, "\ud800", (), {},
)  # fmt: skip
DEPTH_MAX = 6
SECRET = "hunter2secret"


def check_problems(error: UsageError) -> None:
    """It can be told: each problem has a path and a text of a length that people read."""
    assert str(error).encode("utf-8", "backslashreplace")
    for path, problem in getattr(error, "problems", ()):
        assert isinstance(path, tuple) and isinstance(problem, str) and len(problem) < 4096, (path, problem[:100])


def run_config(data: bytes) -> None:
    """A mapping of known and unknown keys to anything: an EdgeConfig, or a ConfigError that names the problems."""
    given = config_value(Fields(data), 0)
    try:
        config = EdgeConfig.from_dict(given)
    except ConfigError as error:
        assert error.problems
        check_problems(error)
        return
    assert config.node_id and config.log.batch_bytes + 128 <= config.frame_bytes_max and config.log.batch_bytes <= config.log.segment_bytes
    assert all(isinstance(name, str) and 1 <= topic.partitions <= 1024 for name, topic in config.topics.items())


def config_value(fields: Fields, depth: int) -> Any:
    """What JSON may hold, most of it mappings of known keys."""
    kind = fields.below(8) if depth < DEPTH_MAX else 7
    if kind < 3:
        found: dict[Any, Any] = {}
        for _ in range(fields.below(8)):
            which = fields.below(len(KEYS) + 1)
            found[KEYS[which] if which < len(KEYS) else fields.text()] = config_value(fields, depth + 1)
        return found
    if kind == 3:
        return [config_value(fields, depth + 1) for _ in range(fields.below(5))]
    if kind == 4:
        return fields.number()
    if kind == 5:
        return fields.text()
    return fields.pick(VALUES)


def write_config(script: Script, value: Any) -> Script:
    """The script of a configuration: mappings, lists, numbers, text."""
    if isinstance(value, dict):
        script.byte(0, len(value))
        for key, item in value.items():
            write_config(script.byte(KEYS.index(key)), item)
    elif isinstance(value, list):
        script.byte(3, len(value))
        for item in value:
            write_config(script, item)
    elif isinstance(value, int) and not isinstance(value, bool):
        script.byte(4).number(value)
    else:
        script.byte(5).text(value) if isinstance(value, str) else script.byte(6, VALUES.index(value))
    return script


def config_seeds() -> list[bytes]:
    full = {
        "node_id": "n", "location": {"lat": 5, "lon": 6}, "log": {"segment_bytes": "1MB", "batch_bytes": 1024}, "frame_bytes_max": 4096,
        "sync": {"interval_secs": "5s", "retry": {"initial_ms": 100}}, "broker": "embedded",
    }  # fmt: skip
    topics = {"node_id": "n", "sync_topics": ["t", {"topic": "u", "partitions": 4}], "local_topics": ["l"]}
    rules = {"node_id": "n", "broker": "embedded", "local_topics": ["l"], "ingest": [{"from": "a/+", "topic": "l", "key": "topic"}]}
    return [bytes(write_config(Script(), given)) for given in (full, topics, rules)]


def run_yaml(data: bytes) -> None:
    """The bytes are a file edge.yaml: an EdgeConfig, or a ConfigFileError with file and line."""
    file = Path(tempfile.gettempdir(), "streamline-fuzz-%d.yaml" % os.getpid())
    try:
        file.write_bytes(data)
        config_file.load(file)
    except ConfigFileError as error:
        assert str(error).startswith(str(file)), str(error)[:200]
        str(error).encode("utf-8", "backslashreplace")
    finally:
        file.unlink()


def yaml_seeds() -> list[bytes]:
    texts = (
        "edge:\n  node_id: n\n  sync_topics: [t, {topic: u, partitions: 4}]\n  log: {segment_bytes: 1MB}\n",
        "node_id: n\ndata_dir: ~/x\ncloud_endpoint: mqtts://u:p@h\nlocation: {lat: 1.5, lon: !!float 2}\nnode_id: m\n",
        "node_id: &a n\nfleet: *a\nlog: {segment_bytes: 0x1000, commit_interval_ms: 1:30}\nx: 2001-01-01\ny: !!binary aGk=\n",
        'node_id: "a\\u0041\\x41"\nmesh: {enabled: no}\n? [complex]\n: 1\n<<: {a: b}\n',
        "%YAML 1.1\n---\nnode_id: |\n  n\n...\n",
    )
    return [text.encode() for text in texts]


def run_url(data: bytes) -> None:
    """A broker's URL with a password in it, which no text ever shows; and the same as a value of a configuration."""
    fields = Fields(data)
    before, behind = fields.text(), fields.rest().decode("utf-8", "replace")
    for text in (before + behind, "%s:%s@%s" % (before, SECRET, behind)):
        said = ""
        try:
            url = BrokerUrl.parse(text)
            assert url.host and 0 < url.port < 65536 and "://" in str(url)
            url.ssl_context() if url.tls and fields.byte() else None
            said = str(url) + repr(url)
        except UsageError as error:
            said = str(error)
        try:
            EdgeConfig.from_dict({"node_id": "n", "cloud_endpoint": text})
        except ConfigError as error:
            said += str(error)
        # A password is what stands between the user and the last @ of the part that names the host.
        if "://" in before and not set("/?#\\@[]") & set(before.split("://", 1)[1]) and behind and not set("@") & set(behind):
            assert SECRET not in said, said


def url_seeds() -> list[bytes]:
    rows = (
        ("mqtt://user", "h:1883"),
        ("mqtts://u", "[::1]:8883"),
        ("wss://u", "h/path"),
        ("ftp://u", "h"),
        ("mqtt://u", "h:port"),
        ("", "mqtt://h"),
    )
    return [bytes(Script().text(a).raw(b.encode())) for a, b in rows]


def run_words(data: bytes) -> None:
    """Words of a command line and of a configuration that are read later: a value, or UsageError."""
    text = data.decode("utf-8", "replace")
    found = attempt(UsageError, ingest.host_and_port, text)
    assert found is REFUSED or (found[0] and 0 <= found[1] <= 65535)
    assert isinstance(attempt(UsageError, record_lines.time_ms, text), (int, type(REFUSED)))
    try:
        EdgeConfig.from_dict({"node_id": text, "data_dir": text, "sync": {"interval_secs": text, "bandwidth_limit": text}})
    except ConfigError as error:
        check_problems(error)
    words = text.partition(" ")
    filter_, topic = attempt((ValueError, UsageError), read_filter, words[0], None), words[2]
    if filter_ is not REFUSED and topic:
        ingest.matches(filter_, topic)
        assert ingest.matches("#", topic) == (not topic.startswith("$"))
        assert ingest.outermost({filter_, "#"}) == sorted({"#"} | ({filter_} if filter_.startswith("$") else set()))


def words_seeds() -> list[bytes]:
    return [b"127.0.0.1:1883", b"[::1]:1883", b"1700000000000", b"2030-01-31T12:00:00Z", b"256MB", b"5s", b"a/+/# a/b/c"]


def run_status(data: bytes) -> None:
    """A retained status of a node or of the hub, as whoever can publish may have left it."""
    online = attempt(ProtocolError, bridge._online, data)
    assert online is REFUSED or isinstance(online, bool)
    said = node_link.read_status(data)
    assert isinstance(said, dict)
    assert len(str(said.get("boot", ""))[:64]) <= 64


def status_seeds() -> list[bytes]:
    return [b'{"online": true, "boot": "00ff"}', b'{"online": false, "connection": 5}', b"[]", b'{"online": 1e400}']


def run_line(data: bytes) -> None:
    """A line of standard input whose JSON object gives the record's key: a key or UsageError."""
    producer = object.__new__(LineProducer)
    producer._key_field, producer.lines = "k", 0
    key = attempt(UsageError, producer._key_of, data)
    assert key is REFUSED or isinstance(key, bytes)


def line_seeds() -> list[bytes]:
    values = (b'"key"', b"5", b"null", b'"\\ud800"', b"[1, {}]", b"1e400", b"NaN", b"123456789012345678901234567890")
    return [b'{"k": %s, "x": 1}' % value for value in values] + [b"[]", b'"k"']


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
    Target("config", run_config, config_seeds, "EdgeConfig.from_dict on mappings of known keys to anything"),
    Target("yaml", run_yaml, yaml_seeds, "config_file.load on files of any bytes"),
    Target("url", run_url, url_seeds, "BrokerUrl.parse, and that no text of it shows a password"),
    Target("words", run_words, words_seeds, "host_and_port, time_ms, sizes, durations, names and MQTT filters from any text"),
    Target("status", run_status, status_seeds, "the status messages that the bridge and the uplink read"),
    Target("line", run_line, line_seeds, "the key in a line of JSON that `produce` reads"),
    Target("control", run_control, control_seeds, "the control socket's server, on any bytes", costly=True),
    Target("client", run_client, control_seeds, "the control socket's client, whole and byte by byte"),
)
