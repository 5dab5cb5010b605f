"""The JSON Schema: what is well it takes, and what it refuses the agent refuses, too, key by key."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from streamline_core.config import ConfigError, EdgeConfig
from streamline_core.config_tables import CONSUMER_TABLE, INGEST_TABLE, LISTS, LOCAL_KEYS, SECTIONS, TABLE, TOPIC_TABLE
from streamline_core.config_values import read_any, read_int, read_ms, read_secs, read_size, read_windows
from streamline_core.errors import UsageError
from streamline_edge import cli
from streamline_edge.config_schema import DIALECT, schema
from streamline_edge.config_template import template

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft202012Validator(schema())
GUIDE = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/CONFIGURATION.md").read_text(), re.S)[0]
README = re.findall(r"cat > edge.yaml <<'END'\n(.*?)END\n", (ROOT / "README.md").read_text(), re.S)[0]
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 5, 50, 99, 100, 101, 512, 1023, 1024, 65408, 65536, 1 << 30, 1 << 48, 1 << 51, 0.5, -90.5, 1e9,
    "", " ", "a", "a.b-c_d", "-a", ".a", "a b", "a" * 64, "a" * 65, "a" * 128, "a" * 129, "x" * 1024, "x" * 1025, "é", "none", "true",
    "zstd", "deflate", "block", "evict", "reject", "oldest", "lru", "compact", "keyed", "log",
    "bidirectional", "custom_merge", "topic",
    "5s", "10ms", "1 m", "7d", "2H", "1.5s", " 5s", "s", "5 parsecs", "64MB", "64 kib ", "4GB", "10b", "1TB", "9" * 16 + "b",
    "mqtt://h", "https://h", "ftp://h", "mqtt://", "mqtt:/h", "embedded", "Embedded", "wss://u:p@h/x",
    "file:/x", "no file: x", "command:true", "file:", "file: ", "socket:/x",
    "+/a/#", "#", "a/#/b", "a+", "a#", "/", "a//b", "+",
    [], ["sat,sun"], ["mon-fri 22:00-06:00", "SUN"], [" 22:00-06:00 "], ["noon"], [1], ["22:00"], "22:00-06:00", ["sat"] * 33,
    {}, {"a": 5}, {"a": 11}, {"a": "5"}, {"a b": 5}, [{}], {"a": None},
)  # fmt: skip


def well(given: Any) -> bool:
    try:
        EdgeConfig.from_dict(copy.deepcopy(given))
    except ConfigError:
        return False
    return True


def test_it_is_a_schema_of_its_draft() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == DIALECT


def test_every_key_is_described_and_has_its_default() -> None:
    edge = schema()["$defs"]["edge"]
    for section, key, _, default, _ in TABLE:
        holder = edge
        for part in filter(None, section.split(".")):
            holder = holder["properties"][part]
        assert holder["properties"][key]["description"]
        if isinstance(default, (int, str)) and default != "":
            assert holder["properties"][key]["default"] == default
    assert set(LISTS) <= set(edge["properties"]) and edge["required"] == ["node_id"]


@pytest.mark.parametrize(
    "text",
    [
        GUIDE,
        README,
        template({"node_id": "n"}),
        template({"node_id": "n", "sync_topics": [{"topic": "t"}], "local_topics": [{"topic": "l"}]}),
        *[path.read_text() for path in sorted([*ROOT.glob("boards/*/edge.json"), *ROOT.glob("docs/examples/*/edge.yaml")])],
    ],
)
def test_the_examples_are_well(text: str) -> None:
    given = yaml.safe_load(text)
    VALIDATOR.validate(given)
    VALIDATOR.validate(given.get("edge", given))


def test_unknown_keys_are_refused_everywhere() -> None:
    base = {"node_id": "n", "sync_topics": [{"topic": "t"}], "local_topics": [{"topic": "l"}]}
    base |= {"consumers": [{"name": "c", "topic": "t"}], "broker": "embedded", "ingest": [{"from": "x", "topic": "t"}]}
    base |= {"cloud_endpoint": "mqtt://h", "serial": [{"port": "/dev/ttyACM0"}]}
    VALIDATOR.validate(base)
    for name in LISTS:
        changed = copy.deepcopy(base)
        changed[name][0]["nonsense"] = 1
        assert not VALIDATOR.is_valid(changed), name
    for name, _ in SECTIONS:
        inner: dict[str, Any] = {"nonsense": 1}
        for part in reversed(name.split(".")):
            inner = {part: inner}
        assert not VALIDATOR.is_valid(base | inner), name
    assert not VALIDATOR.is_valid(base | {"nonsense": 1}) and not VALIDATOR.is_valid({"edge": base, "fleet": "f"})
    assert not VALIDATOR.is_valid({"edge": None}) and not VALIDATOR.is_valid([])
    for key in {row[0] for row in TOPIC_TABLE} - set(LOCAL_KEYS):
        assert not VALIDATOR.is_valid(base | {"local_topics": [{"topic": "l", key: None}]})


def changed_configurations() -> list[dict[str, Any]]:
    """One value at a time, in every place where one may stand."""
    found: list[dict[str, Any]] = []
    for value in VALUES:
        for section, key, *_ in TABLE:
            inner: dict[str, Any] = {key: value}
            if section == "location":
                inner = {"lat": 1, "lon": 2} | inner
            for part in reversed([part for part in section.split(".") if part]):
                inner = {part: inner}
            found.append({"node_id": "n", "cloud_endpoint": "mqtt://h", "sync_topics": ["t"]} | inner)
        for key, *_ in TOPIC_TABLE:
            found.append({"node_id": "n", "sync_topics": [{"topic": "t", key: value}]})
            if key in LOCAL_KEYS:
                found.append({"node_id": "n", "local_topics": [{"topic": "t", key: value}]})
        for key, *_ in CONSUMER_TABLE:
            found.append({"node_id": "n", "sync_topics": ["t"], "consumers": [{"name": "c", "topic": "t", key: value}]})
        for key, *_ in INGEST_TABLE:
            rule = {"from": "x", "topic": "t", key: value}
            found.append({"node_id": "n", "sync_topics": ["t"], "broker": "embedded", "ingest": [rule]})
        for name in [*LISTS, *[name for name, _ in SECTIONS if "." not in name]]:
            found.append({"node_id": "n", name: value})
        found.append({"node_id": "n", "sync_topics": [value]})
    return found


def test_what_it_refuses_the_agent_refuses() -> None:
    refused = 0
    for given in changed_configurations():
        if not VALIDATOR.is_valid(given):
            refused += 1
            assert not well(given), given
    assert refused > 3000


def looser(kind: object, value: Any) -> bool:
    """What only the agent can tell: the bounds of text with a unit, what windows mean, and that 1.0 is no whole number."""
    if isinstance(value, float):
        return value.is_integer() and kind in (read_int, read_ms, read_secs, read_size)
    return (isinstance(value, str) and kind in (read_ms, read_secs, read_size)) or kind is read_windows


def test_what_a_key_alone_may_not_be_it_refuses() -> None:
    edge = schema()["$defs"]["edge"]
    topics = edge["properties"]["sync_topics"]["items"]["anyOf"][1]
    rows = [(section, key, kind, allowed) for section, key, kind, _, allowed in TABLE if kind is not read_any]
    rows += [("sync_topics", key, kind, allowed) for key, kind, _, allowed in TOPIC_TABLE]
    for section, key, kind, allowed in rows:
        holder = topics if section == "sync_topics" else edge
        for part in filter(None, section.split(".") if holder is edge else ()):
            holder = holder["properties"][part]
        validator = jsonschema.Draft202012Validator(holder["properties"][key])
        for value in VALUES:
            if value is None or looser(kind, value):
                continue
            try:
                kind(value, allowed)
            except (ValueError, UsageError):
                assert not validator.is_valid(value), (section, key, value)


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["edge", "config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()
