"""The promise of the whole spine: kill -9 of every part, at any moment; what was taken is at the cloud, once, in order."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mosquitto import Mosquitto

LINES = 100_000
KILLS_OF_EACH = 3
PARTS = ("agent", "bridge", "broker", "producer")
DRAIN_TIMEOUT_S = 90
BIN = Path(sys.executable).parent


class Fleet:
    """One agent, one bridge, one broker, one producer: real processes that can be killed and started again."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.folder = folder
        self.broker = broker
        self.data = folder / "edge"
        self.store = "sqlite:///%s" % (folder / "cloud.db")
        self.config = folder / "edge.yaml"
        self.config.write_text(
            "edge:\n  node_id: edge-1\n  data_dir: %s\n  cloud_endpoint: mqtt://127.0.0.1:%d\n"
            "  sync:\n    retry:\n      initial_ms: 100\n      max_ms: 1000\n"
            "  sync_topics:\n    - topic: lines\n      direction: edge_to_cloud\n" % (self.data, broker.port)
        )
        self.log = (folder / "log").open("ab")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, part: str) -> None:
        if part == "broker":
            self.broker.start()
            return
        commands = {
            "agent": ["streamline", "--edge", "--config", str(self.config)],
            "bridge": ["streamline-cloud", "serve", "--broker", "mqtt://127.0.0.1:%d" % self.broker.port, "--store", self.store],
            "producer": ["streamline-cli", "edge", "produce", "lines", "--producer", "feed", "--config", str(self.config)],
        }
        program, *arguments = commands[part]
        self.processes[part] = subprocess.Popen(
            [str(BIN / program), *arguments],
            stdin=subprocess.PIPE if part == "producer" else subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def kill(self, part: str) -> None:
        if part == "broker":
            self.broker.kill()
            return
        process = self.processes[part]
        process.send_signal(signal.SIGKILL)
        if process.stdin is not None:
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
        process.wait()

    def feed(self, lines: list[bytes]) -> None:
        pipe = self.processes["producer"].stdin
        assert pipe is not None
        pipe.write(b"".join(lines))
        pipe.flush()

    def ledger(self) -> list[dict[str, object]]:
        done = subprocess.run(
            [str(BIN / "streamline-cli"), "edge", "ledger", "--json", "--config", str(self.config)], capture_output=True, check=False
        )
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout else []

    def end(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        self.log.close()


@pytest.fixture
def fleet(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Fleet]:
    made = Fleet(tmp_path, mosquitto)
    yield made
    made.end()
    print((tmp_path / "log").read_text(errors="replace")[-5000:])


@pytest.mark.timeout(300)
def test_every_line_is_at_the_cloud_once_in_order_whatever_is_killed(fleet: Fleet, seed: int) -> None:
    random_ = random.Random(seed)
    lines = [b"line %d %d\n" % (i, random_.getrandbits(40)) for i in range(LINES)]
    kills = list(PARTS) * KILLS_OF_EACH
    random_.shuffle(kills)
    for part in ("bridge", "agent", "producer"):
        fleet.start(part)
    fed = 0
    for i, part in enumerate(kills):
        until = LINES * (i + 1) // (len(kills) + 1)
        middle = fed + (until - fed) * 2 // 3
        fleet.feed(lines[fed:middle])
        time.sleep(random_.uniform(0.05, 0.5))
        fleet.kill(part)
        time.sleep(random_.uniform(0, 0.3))
        fleet.start(part)
        # A producer that was killed reads its input from the beginning again; the agent knows what it has.
        fleet.feed(lines[:until] if part == "producer" else lines[middle:until])
        fed = until
    fleet.feed(lines[fed:])
    producer = fleet.processes["producer"]
    assert producer.stdin is not None
    producer.stdin.close()
    assert producer.wait(DRAIN_TIMEOUT_S) == 0
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    rows = fleet.ledger()
    while not rows or any(row["pending"] for row in rows):
        assert time.monotonic() < deadline, rows
        time.sleep(0.2)
        rows = fleet.ledger()
    read = subprocess.run([str(BIN / "streamline-cloud"), "read", "lines", "--store", fleet.store], capture_output=True, check=True)
    got = read.stdout.splitlines(keepends=True)
    assert len(got) == len(lines)
    assert got == lines
    assert sum(int(str(row["produced"])) for row in rows) == LINES, rows
