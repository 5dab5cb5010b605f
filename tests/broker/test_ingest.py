"""Messages of a local broker become records, at least once, through kills of the agent and of the broker."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

import mosquitto as broker
from agent_process import ENVIRONMENT, AgentProcess
from streamline_edge.ingest import host_and_port, matches, outermost

pytestmark = pytest.mark.broker

CONFIG = """
node_id: gate1
broker: %s
broker_listen: 127.0.0.1:%d
sync_topics: [readings, other]
ingest:
  - {from: "plant/+/temp", topic: readings, key: topic}
  - {from: "plant/#", topic: other}
"""
WAIT_SECS = 60


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def publisher(port: int) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, "device")
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def count(agent: AgentProcess, topic: str) -> int:
    return len(agent.cli("consume", topic).stdout.splitlines())


@pytest.fixture
def agent(tmp_path: Path, mosquitto: broker.Mosquitto) -> Iterator[AgentProcess]:
    agent = AgentProcess(tmp_path, CONFIG % (f"mqtt://127.0.0.1:{mosquitto.port}", 1883))
    agent.start()
    yield agent
    if agent.process is not None and agent.process.poll() is None:
        agent.kill()


def connected(agent: AgentProcess) -> None:
    until(lambda: b": connected" in agent.log.read_bytes(), "the agent connects to the local broker")


def test_rules(agent: AgentProcess, mosquitto: broker.Mosquitto) -> None:
    connected(agent)
    device = publisher(mosquitto.port)
    for topic, value in (("plant/1/temp", "21"), ("plant/1/door", "open"), ("elsewhere", "no"), ("plant/2/temp", "")):
        device.publish(topic, value, qos=1).wait_for_publish(WAIT_SECS)
    device.publish("plant/big", b"x" * 100_000, qos=1).wait_for_publish(WAIT_SECS)  # refused, and blocks nothing
    device.publish("plant/1/door", "shut", qos=0)
    until(lambda: count(agent, "other") == 2, "the last message is stored")
    rows = agent.cli("consume", "readings", "--json").stdout.decode().splitlines()
    assert [('"key":"plant/1/temp"' in rows[0], '"value":"21"' in rows[0])] == [(True, True)] and len(rows) == 2
    assert agent.cli("consume", "other").stdout == b"open\nshut\n"
    assert b"plant/big refused: a record of 100000 bytes" in agent.log.read_bytes()
    device.loop_stop()
    assert agent.stop() == 0


def test_kill_9_of_the_agent_loses_nothing(agent: AgentProcess, mosquitto: broker.Mosquitto) -> None:
    connected(agent)
    device = publisher(mosquitto.port)
    sent = []
    for i in range(3000):
        sent.append(device.publish("plant/7/temp", b"%d" % i, qos=1))
        if i in (1000, 2000):
            sent[-1].wait_for_publish(WAIT_SECS)
            agent.kill()  # what it had not acknowledged, the broker keeps
            agent.start()
    for message in sent:
        message.wait_for_publish(WAIT_SECS)

    def stored() -> set[bytes]:
        return set(agent.cli("consume", "readings").stdout.splitlines())

    until(lambda: len(stored()) == 3000, "every message is stored at least once")
    assert stored() == {b"%d" % i for i in range(3000)}
    device.loop_stop()


def test_with_a_broker_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("amqtt")
    port = broker.free_port()
    agent = AgentProcess(tmp_path, CONFIG % ("embedded", port))
    agent.start()
    try:
        connected(agent)
        device = publisher(port)
        for i in range(20):
            device.publish("plant/7/temp", b"%d" % i, qos=1).wait_for_publish(WAIT_SECS)
        until(lambda: count(agent, "readings") == 20, "all are stored")
        device.loop_stop()
        assert agent.stop() == 0
    finally:
        if agent.process is not None and agent.process.poll() is None:
            agent.kill()


def test_bad_addresses(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path, CONFIG % ("embedded", 99999))
    command = [sys.executable, "-m", "streamline_edge", "--config", str(agent.config)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=WAIT_SECS)
    assert done.returncode == 2 and b"broker_listen: '127.0.0.1:99999' is not allowed" in done.stderr
    assert host_and_port("[::1]:1883") == ("::1", 1883)


def test_filters() -> None:
    for filter, topic, expected in (
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("+", "", True),
        ("a/+/c", "a//c", True),
        ("a", "a/", False),
    ):
        assert matches(filter, topic) is expected, (filter, topic)


def test_filters_that_others_cover() -> None:
    assert outermost({"plant/#", "plant/+/temp", "plant", "plants", "a/+", "a/b", "a/b/c"}) == ["a/+", "a/b/c", "plant/#", "plants"]
    assert outermost({"#", "$SYS/x", "+/y"}) == ["#", "$SYS/x"]
    assert outermost({"a/+/c", "a/b/+"}) == ["a/+/c", "a/b/+"]
