"""edge.yaml: every problem with its line, paths beside the file, nothing dangerous read."""

from pathlib import Path

import pytest

from streamline_core.config import EdgeConfig
from streamline_edge import config_file
from streamline_edge.config_reading import ConfigFileError, Reading

SPECIFIED = """
edge:
  node_id: "edge-store-001"
  location:
    lat: 37.7749
    lon: -122.4194
    name: "Store #001"
  cloud_endpoint: "https://streamline.example.com"
  sync:
    enabled: true
    interval_secs: 30
    batch_size: 1000
    compression: zstd
    bandwidth_limit: 1048576  # 1MB/s
  resources:
    max_storage: 4GB
    eviction_policy: oldest
  conflict_resolution: last_write_wins
  sync_topics:
    - topic: "pos.transactions"
      direction: edge_to_cloud
  local_topics:
    - "local.cache"
"""


def parse(text: str) -> EdgeConfig:
    reading = Reading("edge.yaml")
    reading.put_text(text, Path("/folder"))
    reading.check()
    return reading.config


def errors(text: str) -> list[str]:
    with pytest.raises(ConfigFileError) as caught:
        parse(text)
    return str(caught.value).splitlines()


def test_with_and_without_the_outermost_key() -> None:
    for text in (SPECIFIED, "\n".join(line[2:] for line in SPECIFIED.splitlines() if line != "edge:")):
        config = parse(text)
        assert config.node_id == "edge-store-001" and config.location is not None and config.location.name == "Store #001"
        assert sorted(config.topics) == ["local.cache", "pos.transactions"]


def test_every_problem_with_its_line() -> None:
    text = """edge:
  node_id: n
  sync:
    compression: zst
    retri: {}
  sync_topics:
    - a
    - topic: b
      partitions: many
  resources:
"""
    assert errors(text) == [
        "edge.yaml:4: sync.compression: 'zst' is not allowed; use one of none, deflate, zstd",
        "edge.yaml:5: sync.retri: unknown key; did you mean 'retry'?",
        "edge.yaml:9: sync_topics[1].partitions: 'many' is not allowed; use a whole number from 1 to 1024",
    ]


def test_what_is_missing_points_at_its_section() -> None:
    assert errors("fleet: f\nlocation:\n  lat: 1\n") == [
        "edge.yaml:1: node_id: is missing",
        "edge.yaml:2: location.lon: is missing",
    ]


def test_duplicate_keys() -> None:
    assert errors("node_id: a\nfleet: f\nnode_id: b\n") == ["edge.yaml:3: node_id: is there twice (first in line 1); keep one"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "edge.yaml:1: not YAML"),
        ("- 1", "is not a mapping"),
        ("node_id: !!python/object/apply:os.getcwd []", "node_id"),
        ("x: &x [*x]", "make it smaller"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)),
            "smaller",
        ),
        ("node_id: n\nt: 2001-13-45", "t: month must be"),
        ("? [1, 2]\n: 3\nnode_id: n", "unknown key"),
        ("\x00", "not YAML"),
        ("", "node_id: is missing"),
    ],
)
def test_hostile_text(text: str, said: str) -> None:
    assert said in "\n".join(errors(text))


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text("node_id: n\ndata_dir: data\ncloud_endpoint: mqtts://u@h\npassword_file: secret\nca_file: /etc/ca.pem\n")
    config = config_file.load(file)
    assert config.data_dir == str(tmp_path / "data") and config.password_file == str(tmp_path / "secret")
    assert config.ca_file == "/etc/ca.pem"
    assert config_file.find(str(file), "/else").config.data_dir == "/else"
    with pytest.raises(ConfigFileError, match="nope.yaml: cannot be read"):
        config_file.load(tmp_path / "nope.yaml")
    file.write_bytes(b"node_id: n\nfleet: \xff\n")
    with pytest.raises(ConfigFileError, match=r"edge.yaml:2: not UTF-8"):
        config_file.load(file)
    file.write_bytes(b"#" * (config_file.FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigFileError, match="longer than"):
        config_file.load(file)


def test_what_is_relative_is_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(
        "node_id: n\nmerge: 'python:base.py'\nsync: {condition: 'file: parked'}\nsync_topics:\n"
        "  - {topic: a, kind: keyed, direction: bidirectional, strategy: custom_merge}\n"
        "  - {topic: b, kind: keyed, direction: bidirectional, strategy: custom_merge, merge: 'wasm:b.wasm'}\n"
        "  - {topic: c, kind: keyed, direction: bidirectional, strategy: custom_merge, merge: 'python:module'}\n"
    )
    config = config_file.load(file)
    merges = {name: topic.merge for name, topic in config.topics.items()}
    assert merges == {"a": f"python:{tmp_path}/base.py", "b": f"wasm:{tmp_path}/b.wasm", "c": "python:module"}
    assert config.sync.condition == f"file:{tmp_path}/parked" and config.data_dir == f"{tmp_path}/streamline-data"
    for text, condition in (
        ("no file:off", f"no file:{tmp_path}/off"),
        ("file:/run/on", "file:/run/on"),
        ("command:test -f on", "command:test -f on"),
    ):
        file.write_text(f"node_id: n\nsync:\n  condition: '{text}'\n")
        assert config_file.load(file).sync.condition == condition
    file.write_text("node_id: n\nsync:\n  condition: 'file:~nobody-of-this-name/on'\n")
    with pytest.raises(ConfigFileError, match=r"edge.yaml:3: sync.condition: .* there is no such user"):
        config_file.load(file)


def test_no_file_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.gethostname", lambda: "_My Host!")
    config = config_file.find(None).config
    assert config.node_id == "My-Host-" and config.data_dir == str(tmp_path / "streamline-data")
    (tmp_path / "edge.yaml").write_text("node_id: here\n")
    assert config_file.find(None).config.node_id == "here"
