"""SIGHUP on a live link: another interval, another limit of its bytes."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mosquitto as broker
from agent_process import AgentProcess
from board_process import serve, stored, until

pytestmark = pytest.mark.broker

CONFIG = """
node_id: n
cloud_endpoint: mqtt://127.0.0.1:%d
sync_topics: [logs]
sync: {interval_secs: %d, bandwidth_limit: %d}
log: {batch_bytes: 1024}  # a batch goes as one frame, however slow the link may be
data_dir: d
"""


@pytest.fixture
def configured(tmp_path: Path, mosquitto: broker.Mosquitto) -> Iterator[Callable[[int, int], AgentProcess]]:
    """An agent beside a bridge; called again, it is given another interval and another limit."""
    bridge = serve(mosquitto.port, tmp_path / "cloud.db")
    agent = AgentProcess(tmp_path, "")

    def configure(interval_secs: int, bandwidth_limit: int) -> AgentProcess:
        agent.config.write_text(CONFIG % (mosquitto.port, interval_secs, bandwidth_limit))
        if agent.process is None:
            agent.start()
        else:
            agent.process.send_signal(signal.SIGHUP)
        return agent

    yield configure
    bridge.kill()
    bridge.wait()
    if agent.process is not None:
        agent.kill()


def test_another_interval_holds_at_once(configured: Callable[[int, int], AgentProcess], tmp_path: Path) -> None:
    agent, cloud = configured(3600, 0), tmp_path / "cloud.db"
    assert agent.cli("produce", "logs", stdin=b"1\n").returncode == 0
    until(lambda: stored(cloud) == [b"1"])
    assert agent.cli("produce", "logs", stdin=b"2\n").returncode == 0
    assert b"1 records pending" in agent.cli("sync", "status").stdout
    configured(0, 0)
    until(lambda: stored(cloud) == [b"1", b"2"])


def test_another_limit_of_bytes_holds_at_once(configured: Callable[[int, int], AgentProcess], tmp_path: Path) -> None:
    agent, cloud = configured(0, 200), tmp_path / "cloud.db"
    lines = [os.urandom(100).hex().encode() for _ in range(300)]  # a minute and more at that pace
    assert agent.cli("produce", "logs", stdin=b"\n".join(lines)).returncode == 0
    until(lambda: agent.cli("sync", "status").stdout.startswith(b"open"))
    assert len(stored(cloud)) < 300
    configured(0, 0)
    until(lambda: stored(cloud) == lines, 15)
