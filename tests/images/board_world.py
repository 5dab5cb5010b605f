"""A board in its emulator, a line, a gateway, a broker and the cloud: everything real but the board's metal. A helper of tests, no test."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from littlefs import LittleFS

import board_image
from board_process import ROOT, serve
from emulator import Emulator
from mosquitto import Mosquitto
from noisy_line import NoisyLine
from streamline_cloud.chunk_records import chunk_values
from streamline_cloud.store_reader import StoreReader
from streamline_host.codecs import codecs

sys.path.insert(0, str(ROOT / "tests" / "host"))
from agent_process import ENVIRONMENT, AgentProcess

NODE, TOPIC = "board-1", "readings"
GATEWAY = """
node_id: gate
cloud_endpoint: mqtt://127.0.0.1:%d
sync: {retry: {initial_ms: 50, max_ms: 400}}
sync_topics: [here]
serial: [{port: "socket://127.0.0.1:%d"}]
"""
# Readings with the number of this start and their own: `total` of them, so many a turn.
APP = '''
import os

class Source:
    def __init__(self, topics):
        self.start = int.from_bytes(os.urandom(3), "little")
        self.n = 0

    def produce(self, node, now_ms):
        for _ in range(min(%(per_turn)d, %(total)d - self.n)):
            node.produce("readings", b'{"start": %%d, "n": %%d, "volts": 3.3, "state": "running"}' %% (self.start, self.n))
            self.n += 1
        return now_ms + (%(every_ms)d if self.n < %(total)d else 60000)
'''


class BoardWorld:
    """The gateway and the cloud are off until started; the board's flash is provisioned with `app` and `more` over its edge.json."""

    def __init__(self, image: board_image.Image, mosquitto: Mosquitto, folder: Path, ports: tuple[int, int], seed: int, name: str) -> None:
        self.board = board_image.load_board(name)
        self.mosquitto, self.folder = mosquitto, folder
        self.line = NoisyLine(ports, seed)
        self.emulator = Emulator(self.board, image.path, folder, line_to=ports[1])
        (folder / "gateway").mkdir()
        self.gateway = AgentProcess(folder / "gateway", GATEWAY % (mosquitto.port, ports[0]))
        self.store = folder / "cloud.db"
        self._processes: list[subprocess.Popen[bytes]] = []

    def provision(self, files: dict[str, str], **more: Any) -> None:
        """A file system with edge.json (the board's own, with `more` of this test) and `files`."""
        given = json.loads((ROOT / "boards" / self.board["name"] / "edge.json").read_text())
        given.update({"sync": {"retry": {"initial_ms": 50, "max_ms": 400}}, **more})
        block_bytes = self.board["flash"]["block_bytes"]
        system = LittleFS(block_size=block_bytes, block_count=self.board["flash"]["files_bytes"] // block_bytes)
        for path, text in {"edge.json": json.dumps(given), **files}.items():
            with system.open(path, "w") as file:
                file.write(text)
        self.emulator.new_flash()
        with self.emulator.flash.open("r+b") as flash:
            flash.write(bytes(system.context.buffer))

    def serve(self) -> None:
        self._processes.append(serve(self.mosquitto.port, self.store))

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line, from afar: over the broker, the gateway and the line."""
        where = ["--node", NODE, "--endpoint", "mqtt://127.0.0.1:%d" % self.mosquitto.port, "--timeout", "20"]
        command = [sys.executable, "-m", "streamline_edge.cli", "edge", *where, *words, "--json"]
        return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, cwd="/", check=False)

    def told(self, *words: str, secs: float = 200) -> Any:
        """Its answer, once there is one."""
        deadline = time.monotonic() + secs
        while True:
            answer = self.ask(*words)
            if answer.returncode in (0, 1):
                return json.loads(answer.stdout)
            assert time.monotonic() < deadline, answer.stderr + self.emulator.console[-3000:]
            time.sleep(0.2)

    def stored(self) -> list[dict[str, int]]:
        """Every reading at the cloud, in its order; its ledger must add up."""
        values: list[bytes] = []
        if self.store.exists():
            with StoreReader(self.store, codecs("zstd")) as reader:
                assert all(row.adds_up for row in reader.ledger())
                for chunk in reader.chunks(TOPIC) if reader.topics() else ():
                    values.extend(chunk_values(chunk, reader.codecs))
        return [json.loads(value) for value in values]

    def count(self) -> int:
        return len(self.stored())

    def until(self, condition: Callable[[], object], secs: float = 200) -> None:
        deadline = time.monotonic() + secs
        while not condition():
            assert self.emulator.running, "the emulator ended"
            assert time.monotonic() < deadline, "waited %d s in vain; the console:\n%s" % (secs, self.emulator.console[-3000:])
            time.sleep(0.1)

    def close(self) -> None:
        self.emulator.kill()
        for process in self._processes:
            process.kill()
            process.wait()
        if self.gateway.process is not None and self.gateway.process.poll() is None:
            self.gateway.kill()
        self.line.close()


def check_order(readings: list[dict[str, int]]) -> Counter[int]:
    """Nothing twice, each start in order and without a hole. Returns how many of each start."""
    counts: Counter[int] = Counter()
    for reading in readings:
        assert reading["n"] == counts[reading["start"]], "twice, missing or out of order: %r after %d" % (reading, counts[reading["start"]])
        counts[reading["start"]] += 1
    return counts
