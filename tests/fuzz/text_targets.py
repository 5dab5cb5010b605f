"""Text from people and from other programs: configurations, URLs of brokers, words of a command line, status messages.

Rule: what is wrong is said by the documented error, in text that can be printed and never holds a password. Must not know: what a
configuration does.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from fuzz.fields import Fields, Script
from fuzz.target import REFUSED, Target, attempt
from streamline_cloud import bridge
from streamline_core.config import ConfigError, EdgeConfig
from streamline_core.config_values import read_filter
from streamline_core.errors import ProtocolError, UsageError
from streamline_edge import config_file, ingest, node_link, record_lines
from streamline_edge.config_reading import ConfigFileError
from streamline_edge.line_producer import LineProducer
from streamline_host.broker_url import BrokerUrl

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


TARGETS = (
    Target("config", run_config, config_seeds, "EdgeConfig.from_dict on mappings of known keys to anything"),
    Target("yaml", run_yaml, yaml_seeds, "config_file.load on files of any bytes"),
    Target("url", run_url, url_seeds, "BrokerUrl.parse, and that no text of it shows a password"),
    Target("words", run_words, words_seeds, "host_and_port, time_ms, sizes, durations, names and MQTT filters from any text"),
    Target("status", run_status, status_seeds, "the status messages that the bridge and the uplink read"),
    Target("line", run_line, line_seeds, "the key in a line of JSON that `produce` reads"),
)
