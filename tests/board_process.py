"""The MicroPython edge as a process with a board's heap, and the bridge it streams to. A helper of tests, no test."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpy
from streamline_cloud.chunk_records import chunk_values
from streamline_cloud.store_reader import StoreReader
from streamline_host.codecs import codecs

ROOT = Path(__file__).resolve().parents[1]
HEAP = "256k"


def module_path() -> str:
    """build/mpy where it can be compiled, else the sources."""
    if mpy.available():
        _, errors = mpy.build()
        assert not errors, errors
        return ".frozen:%s" % mpy.OUT
    return ".frozen:%s:%s" % (ROOT / "shared", ROOT / "firmware")


class Board:
    """One node's data and configuration, over any number of lives. `statuses`: what its last life has said. heap: of its interpreter."""

    heap = HEAP

    def __init__(self, folder: Path, port: int, **more: Any) -> None:
        self.folder = folder
        self.path = module_path()
        given = json.loads((ROOT / "boards" / "unix" / "edge.json").read_text())
        given.update({"cloud_endpoint": "mqtt://127.0.0.1:%d" % port, "data_dir": str(folder / "data"), "sync_topics": ["logs"]})
        given.update({"sync": {"retry": {"initial_ms": 50, "max_ms": 400}}, **more})
        self.config = folder / "edge.json"
        self.config.write_text(json.dumps(given))
        self.log = folder / "board.log"

    def command(self, *words: str) -> list[str]:
        program = mpy.find_micropython()
        assert program is not None
        return [program, "-X", "heapsize=" + self.heap, "-m", "streamline_board", "--config", str(self.config), *words]

    def start(self, *words: str, stdin: Any = subprocess.PIPE) -> "subprocess.Popen[bytes]":
        output = self.log.open("wb")
        try:
            return subprocess.Popen(
                self.command("--status", *words), stdin=stdin, stdout=output, stderr=subprocess.STDOUT,
                env=os.environ | {"MICROPYPATH": self.path},
            )  # fmt: skip
        finally:
            output.close()

    def run(self, *words: str, lines: bytes = b"", timeout_s: float = 100) -> dict[str, Any]:
        """A whole life. Returns its last status."""
        given = self.folder / "lines"
        given.write_bytes(lines)
        with given.open("rb") as file:
            process = self.start(*words, stdin=file)
        try:
            assert process.wait(timeout_s) == 0, self.log.read_text()[-3000:]
        finally:
            process.kill()
        return self.status()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for line in self.log.read_text().splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                assert not line.startswith("{") or not line.endswith("}"), line
        return found

    def durable(self) -> int:
        """How many records its last status called durable."""
        return sum(row["produced"] for row in self.status().get("streams", ()))


def serve(port: int, store: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")])}
    words = ["serve", "--broker", "mqtt://127.0.0.1:%d" % port, "--store", "sqlite:///%s" % store]
    process = subprocess.Popen([sys.executable, "-m", "streamline_cloud", *words], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None and b"storing in" in process.stdout.readline()
    process.stdout.close()
    return process


def stored(path: Path) -> list[bytes]:
    """Every value of topic logs at the cloud, in its order; its ledger must add up."""
    values: list[bytes] = []
    if path.exists():
        with StoreReader(path, codecs("zstd")) as reader:
            assert all(row.adds_up for row in reader.ledger())
            for chunk in reader.chunks("logs") if reader.topics() else ():
                values.extend(chunk_values(chunk, reader.codecs))
    return values


def until(condition: Callable[[], object], secs: float = 100) -> None:
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, "waited %d s in vain" % secs
        time.sleep(0.05)
