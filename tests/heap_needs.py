"""How small a heap a configuration runs in: on the 32-bit binary, with a real broker and the real bridge. A helper of tests, no test.

What a run does: it stores records beyond a segment, is connected, delivers all of them, and ends. Below the least heap it ends in a
MemoryError, or does not deliver.
"""

import json
import os
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import board_image
from board_process import serve
from mosquitto import Mosquitto

ARCH = "armhf"
RUN_SECS = 150
RECORD = b"%06d " + b"x" * 93


@cache
def program() -> list[str]:
    """The words that run it."""
    board = board_image.load_board("edge_lite")
    emulator = shlex.split(board["image"]["architectures"][ARCH]["emulator"])
    return [*emulator, str(board_image.build("edge_lite", ARCH).path)]


class Measurement:
    """A broker and a bridge. folder: for all that is written. Use with `with`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broker = Mosquitto(folder)
        self._number = 0

    def __enter__(self) -> "Measurement":
        self._broker.start()
        self._bridge = serve(self._broker.port, self._folder / "cloud.db")
        return self

    def __exit__(self, *_: object) -> None:
        self._bridge.kill()
        self._bridge.wait()
        self._broker.kill()

    def runs(self, given: dict[str, Any], heap_bytes: int, records: int, offline: int = 0) -> bool:
        """Whether that many records of its first topic arrive. offline: so many more are stored in an earlier life, with a heap that is
        large enough."""
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        node = "n%d" % self._number
        config = folder / "edge.json"
        given = dict(given, node_id=node, data_dir=str(folder / "data"))
        first = given["sync_topics"][0]
        topic = first if isinstance(first, str) else first["topic"]
        if offline:
            config.write_text(json.dumps(dict(given, sync=dict(given.get("sync") or {}, enabled=False))))
            result = self._run(config, topic, 4 << 20, offline, ())
            assert result.returncode == 0, result.stdout[-2000:]
        config.write_text(json.dumps(dict(given, cloud_endpoint="mqtt://127.0.0.1:%d" % self._broker.port)))
        try:
            return self._run(config, topic, heap_bytes, records, ("--until-drained",)).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def _run(self, config: Path, topic: str, heap_bytes: int, records: int, more: tuple[str, ...]) -> "subprocess.CompletedProcess[bytes]":
        # Past its own option, which takes no less than what any configuration of a host needs.
        words = [
            *program(),
            "--repl",
            "-X",
            "heapsize=%d" % heap_bytes,
            "-m",
            "streamline_board",
            "--config",
            str(config),
            "--lines",
            topic,
            *more,
        ]
        given = b"".join([RECORD % n + b"\n" for n in range(records)])
        return subprocess.run(
            words, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=RUN_SECS, env=dict(os.environ), check=False
        )
