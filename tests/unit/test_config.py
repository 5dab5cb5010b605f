"""A configuration is accepted whole, or refused with every problem named."""

from harness import raises
from streamline_core.config import ConfigError, EdgeConfig, path_text
from streamline_core.config_values import nearest


def problems(given):
    """{key path as text: message} of a refused configuration."""
    try:
        EdgeConfig.from_dict(given)
    except ConfigError as e:
        return {path_text(path): text for path, text in e.problems}
    raise AssertionError("accepted: %r" % given)


def with_topic(**more):
    given = {"node_id": "n1", "sync_topics": ["t"]}
    given.update(more)
    return EdgeConfig.from_dict(given)


def test_defaults():
    c = EdgeConfig.from_dict({"node_id": "n1"})
    assert (c.node_id, c.fleet, c.location, c.cloud_endpoint, c.broker) == ("n1", "default", None, None, None)
    assert c.topics == {} and c.ingest == []
    assert (c.sync.enabled, c.sync.interval_secs, c.sync.compression, c.sync.max_queue_size) == (True, 0, "zstd", 0)
    assert (c.sync.retry.initial_ms, c.sync.retry.max_ms) == (1000, 60000)
    assert (c.log.segment_bytes, c.log.batch_bytes, c.log.commit_interval_ms) == (4 << 20, 65408, 5)
    assert (c.log.buffer_bytes, c.log.producers_max, c.frame_bytes_max) == (16 << 20, 64, 65536)
    assert c.resources.eviction_policy == "oldest" and c.resources.max_cpu_percent is None
    assert c.conflict_resolution == "last_write_wins" and c.mesh is None


def test_specified_example():
    c = EdgeConfig.from_dict(
        {
            "node_id": "edge-store-001",
            "location": {"lat": 37.5, "lon": -122.5, "name": "Store #001"},
            "cloud_endpoint": "https://streamline.example.com",
            "sync": {"interval_secs": "5m", "batch_size": 1000, "compression": "deflate", "bandwidth_limit": "1MB"},
            "resources": {"max_storage": "4GB", "eviction_policy": "reject"},
            "sync_topics": [{"topic": "pos.transactions", "direction": "edge_to_cloud", "partitions": 4}, "plain"],
            "local_topics": ["local.cache", {"topic": "local.temp", "partitions": 2}],
            "mesh": {"enabled": False, "discovery": "mdns"},
            "broker": "embedded",
            "ingest": [{"from": "sensors/+/temp", "topic": "plain", "key": "topic"}, {"from": "#", "topic": "plain"}],
        }
    )
    assert (c.location.lat, c.location.lon, c.location.name) == (37.5, -122.5, "Store #001")
    assert c.sync.interval_secs == 300 and c.sync.bandwidth_limit == 1 << 20
    assert c.resources.max_storage == 4 << 30
    rows = sorted([(t.name, t.direction, t.partitions, t.kind) for t in c.topics.values()])
    assert rows == [
        ("local.cache", "local", 1, "log"),
        ("local.temp", "local", 2, "log"),
        ("plain", "edge_to_cloud", 1, "log"),
        ("pos.transactions", "edge_to_cloud", 4, "log"),
    ]
    assert [(r.filter, r.topic, r.key) for r in c.ingest] == [("sensors/+/temp", "plain", "topic"), ("#", "plain", None)]


def test_sizes_and_durations():
    def log(**keys):
        return with_topic(log=keys).log

    for text, value in (("64KB", 65536), ("64KiB", 65536), ("1 mb", 1 << 20), ("2048", 2048), ("4096B", 4096), (8192, 8192)):
        if text == "2048":
            assert "log.segment_bytes" in problems({"node_id": "n", "log": {"segment_bytes": text}})
        else:
            assert log(segment_bytes=text).segment_bytes == value, text
    for text, value in (("5s", 5000), ("10ms", 10), (7, 7), ("1m", 60000)):
        assert log(commit_interval_ms=text).commit_interval_ms == value
    kept = EdgeConfig.from_dict({"node_id": "n", "sync_topics": [{"topic": "t", "retention": "7d"}]}).topics["t"]
    assert kept.retention_ms == 7 * 86400000
    bad = problems({"node_id": "n", "sync": {"interval_secs": "500ms"}, "log": {"commit_interval_ms": "5 parsecs"}})
    assert sorted(bad) == ["log.commit_interval_ms", "sync.interval_secs"]
    assert "'500ms'" in bad["sync.interval_secs"] and "whole seconds" in bad["sync.interval_secs"]
    for wrong in (True, -1, 1.5, "", "MB", "1TB", "-1KB", "9" * 30 + "KB", [], {}):
        assert "log.segment_bytes" in problems({"node_id": "n", "log": {"segment_bytes": wrong}}), wrong


def test_a_board_gives_frames_and_segments_and_gets_batches_that_fit():
    c = with_topic(frame_bytes_max=4096, log={"segment_bytes": 4096, "buffer_bytes": 8192})
    assert c.log.batch_bytes == 3968
    c = with_topic(log={"segment_bytes": 2048})
    assert c.log.batch_bytes == 2048
    assert "3968" in problems({"node_id": "n", "frame_bytes_max": 4096, "log": {"batch_bytes": 5000}})["log.batch_bytes"]


def test_one_problem_hides_no_other():
    windows = ["22:00-06:00", "mon 25:00-26:00", "never", 5]
    bad = problems({"node_id": "n", "sync": {"windows": windows}, "sync_topics": [{"topic": "x/y", "strategy": "cloud_wins"}]})
    assert sorted(bad) == ["sync.windows", "sync_topics[0].strategy", "sync_topics[0].topic"]
    assert "'mon 25:00-26:00', 'never', 5 are no windows" in bad["sync.windows"]


def test_all_problems_at_once():
    bad = problems(
        {
            "node_i": "n",
            "sync": {"compression": "zst", "enabled": 1, "retry": 5},
            "sync_topics": ["t", "t", {"topic": "x/y"}, {"topic": "u", "partitions": 0, "wat": 1}, 7],
            "local_topics": {"topic": "z"},
            "location": {"lat": 91},
            "log": [],
            "ingest": [{"from": "a/#/b", "topic": "nope"}, 3],
        }
    )
    assert bad["node_id"] == "is missing"
    assert bad["node_i"] == "unknown key; did you mean 'node_id'?"
    assert bad["sync.compression"] == "'zst' is not allowed; use one of none, deflate, zstd"
    assert sorted(bad) == sorted(
        [
            "node_id",
            "node_i",
            "sync.compression",
            "sync.enabled",
            "sync.retry",
            "sync_topics[1].topic",
            "sync_topics[2].topic",
            "sync_topics[3].partitions",
            "sync_topics[3].wat",
            "sync_topics[4]",
            "local_topics",
            "location.lat",
            "location.lon",
            "log",
            "ingest",
            "ingest[0].from",
            "ingest[0].topic",
            "ingest[1]",
        ]
    )


def test_what_is_not_built_is_refused_by_name():
    bad = problems(
        {
            "node_id": "n",
            "mesh": {"enabled": True, "discovery": "mdns", "max_peers": 3, "replicated_topics": ["t"]},
        }
    )
    assert sorted(bad) == sorted(
        [
            "mesh.enabled",
        ]
    )
    for text in bad.values():
        assert "does not do that yet" in text


def test_of_a_keyed_topic_nothing_is_evicted_where_the_queue_is_full():
    keyed = {"topic": "k", "kind": "keyed"}
    found = with_topic(sync={"queue_full": "evict"}, sync_topics=["t", keyed]).topics
    assert (found["t"].queue_full, found["k"].queue_full) == ("evict", "reject")
    assert "evict is for logs" in problems({"node_id": "n", "sync_topics": [dict(keyed, queue_full="evict")]})["sync_topics[0].queue_full"]


def test_a_topics_strategy_is_its_own_or_that_of_the_node_and_fits_its_kind():
    topics = [
        {"topic": "a", "kind": "keyed", "direction": "bidirectional", "strategy": "cloud_wins", "feed_filter": "{node}/*"},
        {"topic": "b", "kind": "keyed", "direction": "cloud_to_edge"},
        {"topic": "c"},
        {"topic": "d", "kind": "keyed", "strategy": "custom_merge", "merge": "python:m.py"},
    ]
    found = with_topic(sync_topics=topics, conflict_resolution="keep_both").topics
    assert [found[name].strategy for name in "abcd"] == ["cloud_wins", "keep_both", "last_write_wins", "custom_merge"]
    assert [found[name].merge for name in "abcd"] == [None, None, None, "python:m.py"] and found["a"].feed_filter == "{node}/*"
    bad = problems(
        {
            "node_id": "n",
            "sync_topics": [
                {"topic": "a", "strategy": "cloud_wins"},
                {"topic": "b", "kind": "keyed", "strategy": "custom_merge"},
                {"topic": "c", "kind": "keyed", "merge": "python:m.py"},
                {"topic": "d", "kind": "keyed", "feed_filter": "x*"},
                {"topic": "e", "kind": "keyed", "strategy": "best_wins"},
            ],
        }
    )
    places = ["sync_topics[0].strategy", "sync_topics[1].merge", "sync_topics[2].merge", "sync_topics[3].feed_filter"]
    assert sorted(bad) == sorted(places + ["sync_topics[4].strategy"]) and "last_write_wins" in bad["sync_topics[4].strategy"]


def test_a_password_is_never_shown():
    for url in ("http://user:secret@host", "user:secret@host", "secret@x://y", "secretsecretsecretsecret"):
        assert "secretsecretsecretsecret" not in str(problems({"node_id": "n", "cloud_endpoint": url}))
        assert "user:secret" not in str(problems({"node_id": "n", "cloud_endpoint": url}))
    assert with_topic(cloud_endpoint="mqtt://user:secret@host:1883").cloud_endpoint.startswith("mqtt://")


def test_not_a_mapping():
    for given in (None, [], "x", 5):
        raises(ConfigError, EdgeConfig.from_dict, given)


def test_ingest_needs_a_broker():
    bad = problems({"node_id": "n", "sync_topics": ["t"], "ingest": [{"from": "a", "topic": "t"}]})
    assert list(bad) == ["ingest"]


def test_nearest():
    assert nearest("compresion", ["compression", "enabled"]) == "compression"
    assert nearest("node", ["node_id", "fleet"]) is None


def test_serial_lines_have_defaults_and_what_is_wrong_with_one_is_named():
    base = {"node_id": "n", "cloud_endpoint": "mqtt://h"}
    given = dict(base)
    given["serial"] = [{"port": "/dev/ttyACM0"}, {"port": "socket://h:1", "baud": 9600, "node_id": "b", "password_file": "p"}]
    lines = EdgeConfig.from_dict(given).serial
    assert [(one.port, one.baud, one.node_id, one.password_file) for one in lines] == [
        ("/dev/ttyACM0", 115200, None, None),
        ("socket://h:1", 9600, "b", "p"),
    ]
    assert EdgeConfig.from_dict(base).serial == []
    for port in ("rfc2217://10.0.0.1:2217?logging=debug", "socket://[::1]:9"):
        given["serial"] = [{"port": port}]
        assert EdgeConfig.from_dict(given).serial[0].port == port
    for port in ("socket://host", "socket://:1", "socket://h:", "rfc2217://h:x", "socket://h/:1"):
        given["serial"] = [{"port": port}]
        assert list(problems(given)) == ["serial[0].port"], port
    given["serial"] = [
        {"port": "COM3"}, {"port": "spy://x"}, {}, {"port": "/dev/a", "baud": 1}, {"port": "/dev/a", "node_id": "n"}, {"port": "socket://"},
        {"port": "/dev/b", "node_id": "x"}, {"port": "/dev/c", "node_id": "x", "speed": 1},
    ]  # fmt: skip
    bad = problems(given)
    assert sorted(bad) == [
        "serial[0].port", "serial[1].port", "serial[2].port", "serial[3].baud", "serial[4].node_id", "serial[4].port", "serial[5].port",
        "serial[7].node_id", "serial[7].speed",
    ]  # fmt: skip
    assert "/dev/ttyACM0" in bad["serial[0].port"] and "rfc2217://HOST:PORT" in bad["serial[0].port"]
    assert "this node itself" in bad["serial[4].node_id"]
    assert list(problems({"node_id": "n", "serial": [{"port": "/dev/a"}]})) == ["serial"]


def test_a_cloud_endpoint_may_be_a_line_and_a_broker_for_devices_may_not():
    for url in ("serial://1?baud=9600", "serial:///dev/ttyS1", "serial+tcp://h:1"):
        assert EdgeConfig.from_dict({"node_id": "n", "cloud_endpoint": url}).cloud_endpoint == url
    bad = problems({"node_id": "n", "cloud_endpoint": "tty://1", "broker": "serial://1"})
    assert "serial://LINE (on a board)" in bad["cloud_endpoint"] and "serial" not in bad["broker"].split(";")[1]
