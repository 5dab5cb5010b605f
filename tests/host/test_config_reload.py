"""SIGHUP: what changes while the agent runs, what needs a restart, and a file with problems that changes nothing."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent_process import AgentProcess
from streamline_core.config import EdgeConfig
from streamline_core.config_tables import TABLE
from streamline_edge import config_reload
from streamline_edge.agent import Agent
from streamline_edge.control_client import ControlClient

BASE = {"node_id": "n", "cloud_endpoint": "mqtt://127.0.0.1:1", "sync_topics": ["a", {"topic": "b", "priority": 3}]}


def config(**more: object) -> EdgeConfig:
    return EdgeConfig.from_dict(BASE | more)


def compared(**more: object) -> tuple[list[str], list[str]]:
    found = config_reload.compare(config(), config(**more))
    return [change.key for change in found.live], [change.key for change in found.restart]


def test_a_configuration_that_says_the_same_changes_nothing() -> None:
    more = {
        "sync": {"windows": ["sat,sun"]}, "location": {"lat": 1, "lon": 2}, "consumers": [{"name": "c", "topic": "a"}],
        "broker": "embedded", "ingest": [{"from": "x", "topic": "a"}],
    }  # fmt: skip
    found = config_reload.compare(config(**more), config(**more))
    assert found == ([], [])


@pytest.mark.parametrize(
    ("more", "live"),
    [
        ({"sync": {"interval_secs": 5, "windows": ["sat"], "condition": "file:/x"}}, ["interval_secs", "windows", "condition"]),
        ({"sync": {"bandwidth_limit": "1MB", "batch_size": 10}}, ["batch_size", "bandwidth_limit"]),
        ({"sync": {"retry": {"initial_ms": 10, "max_ms": 20}}}, ["retry.initial_ms", "retry.max_ms"]),
        ({"sync": {"max_queue_size": 5, "backlog_percent": 10}}, ["max_queue_size", "backlog_percent"]),
    ],
)
def test_what_steers_sync_is_live(more: dict[str, object], live: list[str]) -> None:
    assert compared(**more) == (["sync." + key for key in live], [])


def test_limits_and_the_commit_interval_are_live() -> None:
    limits = {"max_storage": "1GB", "eviction_policy": "lru", "topic_priorities": {"a": 1}, "max_cpu_percent": 5}
    live, restart = compared(resources=limits, log={"commit_interval_ms": 20})
    assert sorted(live) == sorted(["resources." + key for key in limits] + ["log.commit_interval_ms"]) and restart == []


def test_of_topics_their_rank_is_live_and_their_shape_is_not() -> None:
    a = {"topic": "a", "priority": 9, "urgent": True, "retention": "1h", "partitions": 2}
    live, restart = compared(sync_topics=[a, "c"], local_topics=["d"])
    assert live == ["topic a: priority", "topic a: retention_ms", "topic a: urgent"]
    assert restart == ["topic a: partitions", "topic b", "topic c", "topic d"]


def test_what_shapes_data_or_is_known_to_others_needs_a_restart() -> None:
    more = {
        "node_id": "m", "fleet": "g", "cloud_endpoint": None, "data_dir": "d", "location": {"lat": 1, "lon": 1}, "broker": "embedded",
        "sync": {"enabled": False, "compression": "none"}, "log": {"segment_bytes": "1MB"}, "ingest": [{"from": "x", "topic": "a"}],
        "consumers": [{"name": "c", "topic": "a"}],
    }  # fmt: skip
    live, restart = compared(**more)
    assert live == [] and sorted(restart) == [
        "broker", "cloud_endpoint", "consumers", "data_dir", "fleet", "ingest", "location.lat", "location.lon", "location.name",
        "log.segment_bytes", "node_id", "sync.compression", "sync.enabled",
    ]  # fmt: skip


def test_every_live_key_is_a_key() -> None:
    known = {(section, key) for section, key, *_ in TABLE}
    assert {(section, key) for section, keys in config_reload.LIVE.items() for key in keys} <= known
    assert set(config_reload.LIVE_OF_TOPICS) <= set(vars(config().topics["a"]))


def test_applied_the_objects_in_use_say_what_the_new_one_says() -> None:
    old = config()
    new = config(node_id="m", sync={"interval_secs": 9, "retry": {"max_ms": 5000}}, sync_topics=[{"topic": "a", "urgent": True}])
    sync, topic = old.sync, old.topics["a"]
    config_reload.apply(old, new)
    assert old.sync is sync and sync.interval_secs == 9 and sync.retry.max_ms == 5000
    assert old.topics["a"] is topic and topic.urgent and sorted(old.topics) == ["a", "b"] and old.node_id == "n"
    assert config_reload.compare(old, new).live == []


def test_an_agent_takes_another_condition_at_once(tmp_path: Path) -> None:
    (tmp_path / "on").touch()

    async def run() -> None:
        here = {"data_dir": str(tmp_path / "d")}
        async with Agent(config(**here, sync={"condition": f"file:{tmp_path}/on"})) as agent:
            await asyncio.sleep(0.1)
            agent.node.tick()
            assert agent.node.gate is not None and agent.node.gate.open
            await agent.reconfigure(config(**here, sync={"condition": f"no file:{tmp_path}/on"}))
            await asyncio.sleep(0.1)
            agent.node.tick()
            assert not agent.node.gate.open and "no file" in agent.node.gate.why
            found = await agent.reconfigure(config(**here, sync={"retry": {"max_ms": 2000}}))
            assert [change.key for change in found.live] == ["sync.condition", "sync.retry.max_ms"]
            await asyncio.sleep(0.1)
            agent.node.tick()
            assert agent.node.gate.open and agent.uplink is not None and agent.uplink.link.retry_secs == (1, 2)

    asyncio.run(run())


FILE = """
node_id: n
cloud_endpoint: mqtt://127.0.0.1:1
sync: {max_queue_size: %s}
sync_topics: [%s]
data_dir: d
"""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProcess]:
    agent = AgentProcess(tmp_path, FILE % (2, "a"))
    agent.config.write_text(FILE % (2, "a"))
    agent.start()
    yield agent
    assert agent.stop() == 0


def hangup(agent: AgentProcess) -> Callable[[str], None]:
    """SIGHUP. Returns what waits until the log says something since."""
    assert agent.process is not None
    before = agent.log.stat().st_size
    agent.process.send_signal(signal.SIGHUP)

    def wait(text: str) -> None:
        deadline = time.monotonic() + 40
        while text not in agent.log.read_text()[before:]:
            assert time.monotonic() < deadline, agent.log.read_text()
            time.sleep(0.02)

    return wait


def stored(agent: AgentProcess) -> int:
    """Store records until one is refused. Returns how many there are."""
    client = ControlClient(str(agent.data_dir))
    while True:
        client.send({"op": "produce", "topic": "a", "sizes": [1]}, b"x")
        answer = client.receive()[0]
        if "error" in answer:
            assert answer["kind"] == "queue_full"
            client.close()
            return len(agent.cli("consume", "a").stdout.splitlines())


def test_sighup_reloads_the_file_and_names_what_needs_a_restart(agent: AgentProcess) -> None:
    assert stored(agent) == 2
    agent.config.write_text(FILE % (5, "{topic: a, priority: 7}, b"))
    wait = hangup(agent)
    wait("INFO streamline: configuration reloaded: sync.max_queue_size 2 → 5")
    wait("INFO streamline: configuration reloaded: topic a: priority 5 → 7")
    wait("WARNING streamline: configuration: topic b needs a restart")
    assert stored(agent) == 5
    hangup(agent)("topic b needs a restart")


def test_sighup_with_a_wrong_file_changes_nothing_and_says_what_is_wrong(agent: AgentProcess) -> None:
    agent.config.write_text(FILE % (100, "a, {topic: b, partitions: none}, {topic: b}"))
    wait = hangup(agent)
    wait(f"ERROR streamline: configuration not reloaded: {agent.config}:5: sync_topics[1].partitions: 'none' is not allowed")
    wait(f"ERROR streamline: configuration not reloaded: {agent.config}:5: sync_topics[2].topic: 'b' is there twice")
    assert stored(agent) == 2
    agent.config.unlink()
    hangup(agent)("edge.yaml: cannot be read")
    agent.config.write_text(FILE % (2, "a"))
    hangup(agent)("configuration reloaded: nothing has changed")
