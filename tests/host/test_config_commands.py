"""`streamline-cli edge config`: what is wrong with a configuration, and what is in force."""

import json
from pathlib import Path

import pytest

from streamline_core.config_tables import TABLE
from streamline_edge import cli, operator_limits

WELL = """
edge:
  node_id: n
  cloud_endpoint: mqtts://user:secret@h
  sync: {windows: ["sat,sun"], queue_full: reject}
  resources: {topic_priorities: {a: 3}}
  sync_topics:
    - a
    - topic: k
      kind: keyed
      direction: bidirectional
  local_topics: [l]
  consumers: [{name: c, topic: a}]
  broker: embedded
  ingest: [{from: "x/#", topic: a}]
"""
WRONG = "node_id: n\nsync:\n  intervals: 3\n  batch_size: -1\nca_file: ~nobody-of-this-name/x\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "well.yaml").write_text(WELL)
    (tmp_path / "wrong.yaml").write_text(WRONG)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert cli.main(["edge", "config", *words]) == code
    return capsys.readouterr()


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, tuple[object, str]]:
    return {row["key"]: (row["value"], row["source"]) for row in json.loads(said(capsys, "show", "--json", *words)[0])}


def test_check_says_in_a_line_that_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "check", "well.yaml") == ("well.yaml: well: node n, 3 topics\n", "")
    assert json.loads(said(capsys, "check", "well.yaml", "--json")[0]) == {"file": "well.yaml", "ok": True, "problems": []}


def test_check_says_every_problem_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, "check", "wrong.yaml", code=2)
    lines = err.splitlines()
    assert out == "" and [line.split(": ")[:2] for line in lines] == [
        ["wrong.yaml:3", "sync.intervals"],
        ["wrong.yaml:4", "sync.batch_size"],
        ["wrong.yaml:5", "ca_file"],
    ]
    out, err = said(capsys, "check", "wrong.yaml", "--json", code=2)
    answer = json.loads(out)
    assert err == "" and answer["ok"] is False
    assert [f"{row['place']}: {row['key']}: {row['text']}" for row in answer["problems"]] == lines
    assert [row["line"] for row in answer["problems"]] == [3, 4, 5]
    assert "cannot be read" in said(capsys, "check", "none.yaml", code=2)[1]


REFUSED_AT_START = """node_id: n
cloud_endpoint: mqtt://x:99999
broker: embedded
broker_listen: 0.0.0.0:1883
resources: {max_connections: 4}
sync_topics:
  - {topic: k, kind: keyed, strategy: custom_merge, merge: "python:none.py"}
  - {topic: down, direction: cloud_to_edge}
ingest:
  - {from: a, topic: k}
  - {from: b, topic: down}
"""


def test_check_says_what_the_agent_would_end_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "late.yaml").write_text(REFUSED_AT_START)
    lines = said(capsys, "check", "late.yaml", code=2)[1].splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["late.yaml:2", "cloud_endpoint"],
        ["late.yaml:4", "broker_listen"],
        ["late.yaml:5", "resources.max_connections"],
        ["late.yaml:7", "sync_topics[0].merge"],
        ["late.yaml:10", "ingest[0]"],
        ["late.yaml:11", "ingest[1]"],
    ]
    assert "use at least 5" in lines[2] and lines[3].endswith("there is no file %s" % (folder / "none.py"))
    (folder / "late.yaml").write_text("node_id: n\nbroker: embedded\nbroker_listen: here\n")
    assert "'here' is not allowed; use HOST:PORT" in said(capsys, "check", "late.yaml", code=2)[1]
    (folder / "late.yaml").write_text("node_id: n\ncloud_endpoint: mqtts://x\npassword_file: not-there-yet\n")
    assert "well: node n" in said(capsys, "check", "late.yaml")[0]  # it is checked before its secrets are in place


def test_show_names_every_key_with_its_value_and_where_that_came_from(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = shown(capsys, "--config", "well.yaml")
    for section, key, *_ in TABLE:
        assert (f"{section}.{key}" if section else key) in rows or section in ("location", "mesh"), key
    assert rows["node_id"] == ("n", "well.yaml:3") and rows["fleet"] == ("default", "default")
    assert rows["sync.windows"] == (["sat,sun"], "well.yaml:5") and rows["sync.retry.max_ms"] == (60000, "default")
    assert rows["log.batch_bytes"] == (65408, "default")
    assert rows["data_dir"] == (str(folder / "streamline-data"), "default")
    assert rows["resources.topic_priorities"] == ({"a": 3}, "well.yaml:6")
    assert rows["sync_topics[0].topic"] == ("a", "well.yaml:8") and rows["sync_topics[0].retention"] == (0, "default")
    assert "sync_topics[0].strategy" not in rows
    assert rows["sync_topics[1].kind"] == ("keyed", "well.yaml:10")
    assert rows["sync_topics[1].strategy"] == ("last_write_wins", "conflict_resolution")
    assert rows["sync_topics[1].queue_full"] == ("reject", "sync.queue_full")
    assert rows["local_topics[0].topic"] == ("l", "well.yaml:12") and "local_topics[0].direction" not in rows
    assert rows["consumers[0].holds"] == (True, "default") and rows["ingest[0].from"] == ("x/#", "well.yaml:15")
    assert shown(capsys, "--config", "well.yaml", "--data-dir", "here")["data_dir"] == (str(folder / "here"), "--data-dir")
    assert shown(capsys)["node_id"][1] == "this machine's name"
    text = said(capsys, "show", "--config", "well.yaml")[0]
    assert "resources.topic_priorities" in text and "{a: 3}" in text


def test_show_says_which_limits_an_operator_has_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "d").mkdir()
    operator_limits.write("d", {"storage": 1 << 30, "cpu": 20, "eviction_policy": "lru"})
    rows = shown(capsys, "--config", "well.yaml", "--data-dir", "d")
    assert rows["resources.max_storage"] == (1 << 30, "edge resources limit")
    assert rows["resources.max_cpu_percent"] == (20, "edge resources limit")
    assert rows["resources.eviction_policy"] == ("lru", "edge resources limit")
    assert rows["resources.topic_priorities"] == ({"a": 3}, "well.yaml:6") and rows["resources.max_memory"][1] == "default"


def test_show_hides_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--config", "well.yaml")["cloud_endpoint"] == ("mqtts://user@h", "well.yaml:4")


def test_show_of_a_wrong_configuration_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, "show", "--config", "wrong.yaml", code=2)
    assert out == "" and err.startswith("streamline-cli: wrong.yaml:3: sync.intervals: unknown key") and len(err.splitlines()) == 3
