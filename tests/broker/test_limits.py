"""Limits against a real broker and cloud: who blocks waits for the cloud, and what waits is delivered when the link comes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mosquitto import Mosquitto

sys.path.insert(0, str(Path(__file__).parents[1] / "host"))
from agent_process import ENVIRONMENT, AgentProcess

CONFIG = """
node_id: n1
cloud_endpoint: mqtt://127.0.0.1:%d
sync: {max_queue_size: 500, queue_full: block, retry: {initial_ms: 50, max_ms: 200}}
resources: {max_memory: 128MB, max_cpu_percent: 60}
sync_topics: [t]
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[tuple[AgentProcess, Mosquitto]]:
    broker = Mosquitto(tmp_path)
    agent = AgentProcess(tmp_path, CONFIG % broker.port)
    agent.start()
    yield agent, broker
    if agent.process is not None and agent.process.poll() is None:
        agent.kill()
    broker.kill()


def told(agent: AgentProcess, *arguments: str) -> Any:
    return json.loads(agent.cli(*arguments, "--json").stdout)


def test_who_blocks_waits_for_the_cloud_and_nothing_is_lost(fleet: tuple[AgentProcess, Mosquitto], tmp_path: Path) -> None:
    agent, broker = fleet
    lines = b"".join(b"line %d\n" % i for i in range(5000))
    producer = subprocess.Popen(
        agent.command("produce", "t", "--producer", "p"), env=ENVIRONMENT, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert producer.stdin is not None and producer.stderr is not None
    producer.stdin.write(lines)
    producer.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        producer.wait(2)
    assert 0 < told(agent, "queue")["depth"] <= 500
    broker.start()
    cloud = subprocess.Popen(
        [sys.executable, "-m", "streamline_cloud", "serve", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--store", f"sqlite:///{tmp_path}/c.db"],
        env=ENVIRONMENT, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert producer.wait(60) == 0
        assert b"5000 lines: 5000 stored" in producer.stderr.read()
        assert agent.cli("consume", "t").stdout == lines
    finally:
        cloud.terminate()
        cloud.wait(10)
