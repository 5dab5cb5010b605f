"""Limits against a real broker and cloud: who blocks waits for the cloud, and what waits is delivered when the link comes."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    with cloud(broker, tmp_path):
        assert producer.wait(60) == 0
        assert b"5000 lines: 5000 stored" in producer.stderr.read()
        assert agent.cli("consume", "t").stdout == lines


COMPACT = """
node_id: n2
cloud_endpoint: mqtt://127.0.0.1:%d
log: {segment_bytes: 32KB}
sync: {retry: {initial_ms: 50, max_ms: 200}}
resources: {max_storage: 512KB, eviction_policy: compact}
sync_topics: [t]
"""


def test_of_few_keys_the_newest_reach_the_cloud_though_much_more_was_written_than_fits(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    agent = AgentProcess(tmp_path, COMPACT % broker.port)
    agent.start()
    try:
        for part in range(16):  # 1.6 MB in all
            lines = b"".join(b'{"n":%d,"k":"key %d","x":"%s"}\n' % (i, i % 20, b"x" * 180) for i in range(part * 500, part * 500 + 500))
            assert agent.cli("produce", "t", "--key-field", "k", stdin=lines).returncode == 0
        (row,) = told(agent, "ledger")
        assert row["produced"] == 8000 and row["unconfirmed"] == {} and row["stored_bytes"] <= 512 << 10
        broker.start()
        with cloud(broker, tmp_path):
            deadline = time.monotonic() + 60
            while (row := told(agent, "ledger")[0])["pending"]:
                assert time.monotonic() < deadline, row
                time.sleep(0.1)
            assert row["delivered"] == 8000 and row["lost"] == {}
            command = [sys.executable, "-m", "streamline_cloud", "read", "t", "--store", f"sqlite:///{tmp_path}/c.db"]
            done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=60, check=True)
            numbers = [json.loads(line)["n"] for line in done.stdout.splitlines()]
            assert numbers == sorted(set(numbers)) and set(range(7980, 8000)) <= set(numbers) and len(numbers) < 4000
    finally:
        agent.kill()
        broker.kill()


@contextmanager
def cloud(broker: Mosquitto, folder: Path) -> Iterator[None]:
    command = ["serve", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--store", f"sqlite:///{folder}/c.db"]
    process = subprocess.Popen([sys.executable, "-m", "streamline_cloud", *command], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)
