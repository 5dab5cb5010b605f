"""Variables of the environment: each key has one, they come before the file, and a wrong one is refused by its name."""

import json
from pathlib import Path

import pytest

from agent_process import AgentProcess
from streamline_core.config import EdgeConfig
from streamline_core.config_tables import LISTS, TABLE
from streamline_edge import config_environment, config_file
from streamline_edge.config_reading import ConfigFileError

FILE = """edge:
  node_id: n
  fleet: f
  sync: {interval_secs: 5, retry: {initial_ms: 100}}
  sync_topics: [{topic: a, partitions: 3}]
  location: {lat: 1, lon: 2}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/edge.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(monkeypatch: pytest.MonkeyPatch, path: str | None = "conf/edge.yaml", **variables: str) -> EdgeConfig:
    with monkeypatch.context() as context:
        for name, value in variables.items():
            context.setenv("STREAMLINE_EDGE_" + name, value)
        return config_file.find(path).config


def refused(monkeypatch: pytest.MonkeyPatch, path: str | None = "conf/edge.yaml", **variables: str) -> list[str]:
    with pytest.raises(ConfigFileError) as caught:
        found(monkeypatch, path, **variables)
    return str(caught.value).splitlines()


def test_every_key_that_is_not_in_a_list_has_a_variable() -> None:
    assert len(config_environment.settings()) == len(TABLE) + len(LISTS)
    assert config_environment.settings()["STREAMLINE_EDGE_SYNC__RETRY__MAX_MS"].path == ("sync", "retry", "max_ms")


def test_a_variable_comes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    config = found(
        monkeypatch, NODE_ID="007", SYNC__INTERVAL_SECS="1m", SYNC__RETRY__MAX_MS="500", SYNC__ENABLED="false", LOCATION__LAT="-3.5",
        RESOURCES__MAX_STORAGE="64MB", SYNC_TOPICS="[b, {topic: c, priority: 9}]", RESOURCES__TOPIC_PRIORITIES='{"c": 2}',
        SYNC__WINDOWS='["sat,sun"]', SYNC__COMPRESSION="none",
    )  # fmt: skip
    assert config.node_id == "007" and config.fleet == "f" and config.location is not None and config.location.lat == -3.5
    sync, retry = config.sync, config.sync.retry
    assert (sync.interval_secs, sync.enabled, sync.compression, len(sync.windows)) == (60, False, "none", 1)
    assert (retry.initial_ms, retry.max_ms) == (100, 500)
    assert config.resources.max_storage == 64 << 20 and config.resources.topic_priorities == {"c": 2}
    assert sorted(config.topics) == ["b", "c"]


def test_without_a_file_variables_are_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = found(monkeypatch, None, DATA_DIR="data", LOCAL_TOPICS="[x]", SYNC__CONDITION="file:on")
    assert config.data_dir == str(folder / "data") and list(config.topics) == ["x"]
    assert config.sync.condition == f"file:{folder}/on"
    assert found(monkeypatch, None, NODE_ID="me").node_id == "me"


def test_paths_in_variables_are_relative_to_the_folder_of_the_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "conf/edge.yaml").write_text("node_id: n\ncloud_endpoint: mqtts://u@h\nca_file: ca.pem\n")
    config = found(monkeypatch, PASSWORD_FILE="secret")
    assert config.ca_file == str(folder / "conf/ca.pem") and config.password_file == str(folder / "secret")


def test_an_empty_variable_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    config = found(monkeypatch, FLEET="", SYNC__INTERVAL_SECS="", NO_SUCH_KEY="")
    assert (config.fleet, config.sync.interval_secs) == ("f", 5)


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = "STREAMLINE_EDGE_"
    assert refused(monkeypatch, SYNC__BATCH_SIZE="some", SYNC_TOPICS="[{topic: a, partitions: 0}]", LOCAL_TOPICS="[a", FLEET="-") == [
        prefix + "FLEET: fleet: node id '-' must begin with a letter or a digit",
        prefix + "LOCAL_TOPICS: local_topics: not YAML: expected ',' or ']', but got '<stream end>'",
        prefix + "SYNC_TOPICS: sync_topics[0].partitions: 0 is not allowed; use a whole number from 1 to 1024",
        prefix + "SYNC__BATCH_SIZE: sync.batch_size: 'some' is not allowed; use a whole number from 0 to 1000000",
    ]
    (line,) = refused(monkeypatch, None, LOCATION__LAT="3")
    assert line == prefix + "LOCATION__LAT: location.lon: is missing"
    kind, twice = refused(monkeypatch, None, SYNC__WINDOWS="{a: 1, a: 2}")
    assert twice.startswith(prefix + "SYNC__WINDOWS: sync.windows.a: is there twice")
    assert kind.startswith(prefix + "SYNC__WINDOWS: sync.windows: {'a': 1} is not allowed")


def test_an_unknown_variable_is_a_slip_of_one_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = "STREAMLINE_EDGE_"
    (line,) = refused(monkeypatch, SYNC_INTERVAL_SECS="3")
    assert line == f"{prefix}SYNC_INTERVAL_SECS: unknown variable; did you mean {prefix}SYNC__INTERVAL_SECS?"
    (line,) = refused(monkeypatch, SOMETHING_ELSE_ALTOGETHER="3")
    assert "unset it" in line


def test_variables_that_are_not_ours_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLINE_SEED", "1")
    monkeypatch.setenv("STREAMLINE_BROKER_PASSWORD", "x")
    kubernetes = {"PORT": "tcp://10.0.0.1:1883", "SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "1883", "SERVICE_PORT_MQTT": "1883"}
    kubernetes |= {"PORT_1883_TCP": "tcp://10.0.0.1:1883", "PORT_1883_TCP_ADDR": "10.0.0.1", "PORT_1883_TCP_PROTO": "tcp"}
    assert found(monkeypatch, **kubernetes).node_id == "n"


def test_the_agent_and_the_command_line_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = AgentProcess(tmp_path, "node_id: n", STREAMLINE_EDGE_NODE_ID="named", STREAMLINE_EDGE_LOCAL_TOPICS="[x]")
    agent.start()
    try:
        assert json.loads(agent.cli("status", "--json").stdout)["node"] == "named"
        assert [row["topic"] for row in json.loads(agent.cli("topics", "--json").stdout)] == ["x"]
        monkeypatch.setenv("STREAMLINE_EDGE_DATA_DIR", str(agent.data_dir))
        monkeypatch.chdir("/")
        from streamline_edge import cli

        assert cli.main(["edge", "status", "--json"]) == 0
    finally:
        agent.kill()
