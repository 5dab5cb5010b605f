"""`streamline-cli edge init`: a file that is well, explains every key, and is written over nothing."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent_process import ENVIRONMENT
from streamline_core.config_tables import CONSUMER_TABLE, INGEST_TABLE, LISTS, SECTIONS, TABLE, TOPIC_TABLE
from streamline_edge import cli, config_file, config_texts
from streamline_edge.config_template import size_text, template

FLAGS = ["--node-id", "n1", "--topic", "sensors"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*words: str, code: int = 0) -> None:
    assert cli.main(["edge", "init", *words]) == code


def test_each_key_of_the_tables_has_a_text_and_none_is_left_over() -> None:
    assert set(config_texts.KEYS) == {f"{section}.{key}" if section else key for section, key, *_ in TABLE}
    assert set(config_texts.SECTIONS) == {name for name, _ in SECTIONS} and set(config_texts.LISTS) == set(LISTS)
    for texts, table in (
        (config_texts.OF_TOPICS, TOPIC_TABLE),
        (config_texts.OF_CONSUMERS, CONSUMER_TABLE),
        (config_texts.OF_INGEST, INGEST_TABLE),
    ):
        assert set(texts) == {row[0] for row in table}
    everything = [vars(config_texts)[name] for name in ("SECTIONS", "LISTS", "KEYS", "OF_TOPICS", "OF_CONSUMERS", "OF_INGEST")]
    assert all(text and "\n" not in text and len(text) <= 130 for texts in everything for text in texts.values())


def test_what_is_written_is_well_and_says_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    init(
        *FLAGS, "--topic", "settings:bidirectional:keyed", "--topic", "cache:local", "--cloud", "mqtts://u@broker.example",
        "--max-storage", "1GB",
    )  # fmt: skip
    assert capsys.readouterr().out == "edge.yaml: node n1, 3 topics; start it with: streamline --edge --config edge.yaml\n"
    config = config_file.load("edge.yaml")
    assert config.node_id == "n1" and config.cloud_endpoint == "mqtts://u@broker.example"
    assert config.resources.max_storage == 1 << 30
    topics = {name: (topic.direction, topic.kind) for name, topic in config.topics.items()}
    assert topics == {"sensors": ("edge_to_cloud", "log"), "settings": ("bidirectional", "keyed"), "cache": ("local", "log")}
    assert cli.main(["edge", "config", "check", "edge.yaml"]) == 0


def test_every_key_is_there_and_what_is_commented_out_is_the_default(folder: Path) -> None:
    init(*FLAGS)
    text = (folder / "edge.yaml").read_text()
    for section, key, *_ in TABLE:
        assert len(re.findall(rf"^ +#?{key}: .*# \S", text, re.M)) >= 1, (section, key)
    plain = config_file.load("edge.yaml")
    (folder / "all.yaml").write_text(re.sub(r"^( *)#(\w)", r"\1\2", text, flags=re.M))
    everything = config_file.load("all.yaml")
    assert everything.location is not None and everything.mesh is not None
    for section in ("sync", "log", "resources"):
        for key, value in vars(getattr(plain, section)).items():
            if key not in ("retry", "windows"):
                assert getattr(getattr(everything, section), key) == value, (section, key)
    assert vars(everything.topics["sensors"]) == vars(plain.topics["sensors"])


def test_nothing_is_written_over_without_force(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "edge.yaml").write_text("mine\n")
    init(*FLAGS, code=2)
    assert (folder / "edge.yaml").read_text() == "mine\n" and "--force" in capsys.readouterr().err
    init(*FLAGS, "--out", "other.yaml")
    init(*FLAGS, "--force")
    assert (folder / "edge.yaml").read_text() == (folder / "other.yaml").read_text()
    assert sorted(os.listdir(folder)) == ["edge.yaml", "other.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--node-id and --topic are missing"),
        (["--node-id", "n"], "--topic is missing"),
        (["--node-id", "-x-", "--topic", "t"], "expected one argument"),
        (["--node-id", "a b", "--topic", "t"], "node_id: node id 'a b' may hold"),
        (["--node-id", "n", "--topic", "t:upwards"], "sync_topics[0].direction: 'upwards' is not allowed"),
        (["--node-id", "n", "--topic", "t:local:keyed:x"], "topic 't:local:keyed:x' is not NAME[:direction[:kind]]"),
        (["--node-id", "n", "--topic", "t", "--max-storage", "much"], "resources.max_storage: 'much' is not allowed"),
        (["--node-id", "n", "--topic", "t", "--out", "no/such/folder.yaml"], "cannot be written: No such file"),
    ],
)
def test_what_is_wrong_or_missing_is_said_and_nothing_is_written(folder: Path, words: list[str], said: str) -> None:
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", "init", *words]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and said in done.stderr and os.listdir(folder) == []


def test_on_a_terminal_it_asks_until_the_answers_are_well(folder: Path) -> None:
    inner, outer = pty.openpty()
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", "init"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdin=outer, stdout=outer, stderr=outer)
    os.close(outer)
    os.write(inner, b"bad name\nnode-7\nftp://x\nmqtt://h\n\n8GB\n\n")
    said = b""
    try:
        while chunk := os.read(inner, 4096):
            said += chunk
    except OSError:  # the other side is closed
        pass
    assert process.wait(60) == 0, said
    assert b"storage at the most [4GB]: " in said and b"memory at the most [none]: " in said and said.count(b"is not allowed") == 1
    config = config_file.load("edge.yaml")
    assert (config.node_id, config.cloud_endpoint, list(config.topics)) == ("node-7", "mqtt://h", ["telemetry"])
    assert config.resources.max_storage == 8 << 30 and config.resources.max_memory is None


def test_any_text_survives_in_the_file(folder: Path) -> None:
    for text in ("007", "true", "null", "1e3", "n#x"[:1], "2020-01-01"):
        (folder / "edge.yaml").write_text(template({"node_id": text, "data_dir": "# a: 'b' \"c\""}))
        config = config_file.load("edge.yaml")
        assert config.node_id == text and config.data_dir == str(folder / "# a: 'b' \"c\"")


def test_sizes_as_people_write_them() -> None:
    assert [size_text(value) for value in (0, 1000, 1024, 4 << 20, 4 << 30, 1536 << 20)] == [0, 1000, "1KB", "4MB", "4GB", "1536MB"]


@pytest.mark.parametrize("name", ["raspberry_pi_4", "industrial_edge", "vehicle_ecu"])
def test_a_profile_gives_its_limits_and_topics_and_the_options_come_before_it(tmp_path: Path, name: str) -> None:
    out = tmp_path / "edge.yaml"
    words = ["edge", "init", "--profile", name, "--node-id", "n7", "--cloud", "mqtt://127.0.0.1:1", "--max-storage", "300MB"]
    words += ["--out", str(out)]
    assert cli.main(words) == 0
    made, profile = config_file.load(out), config_file.load(Path(config_file.__file__).parent / "profiles" / name / "edge.yaml")
    assert (made.node_id, made.cloud_endpoint, made.resources.max_storage) == ("n7", "mqtt://127.0.0.1:1", 300 << 20)
    assert made.resources.max_memory == profile.resources.max_memory and sorted(made.topics) == sorted(profile.topics)
    assert [vars(rule) for rule in made.ingest] == [vars(rule) for rule in profile.ingest]
    assert cli.main([*words, "--force", "--topic", "mine"]) == 0
    assert sorted(config_file.load(out).topics) == ["mine"]


def test_a_profile_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["edge", "init", "--profile", "toaster", "--node-id", "n", "--out", str(tmp_path / "edge.yaml")]) == 2
    assert "there are: industrial_edge, iot_gateway" in capsys.readouterr().err
