"""A MicroPython edge with the heap of a node on Linux, in a life as a service has it, and the real command line beside it.

Rule: what it is told comes by its control socket alone. Must not know: what a test asks.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent_process import ENVIRONMENT
from board_process import Board, until

LITE_HEAP = "512k"  # what a node on Linux gets, though here its bytecode is in it, too
KEYED_HEAP = "640k"  # keyed topics load more of that

Running = list["subprocess.Popen[bytes]"]


def cli(config: Path, *words: str, stdin: bytes = b"", timeout_s: float = 60) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", "--config", str(config), *words]
    return subprocess.run(command, env=ENVIRONMENT, input=stdin, capture_output=True, timeout=timeout_s, cwd="/", check=False)


def told(board: Board, *words: str) -> Any:
    done = cli(board.config, *words, "--json")
    assert done.returncode in (0, 1), done
    return json.loads(done.stdout)


def lite(folder: Path, port: int, **more: Any) -> Board:
    board = Board(folder, port, **more)
    board.heap = LITE_HEAP
    return board


def up(board: Board, running: Running, *words: str) -> "subprocess.Popen[bytes]":
    """A life of a board as a service has it: nothing on its standard input, no lines of status."""
    with board.log.open("ab") as output:
        process = subprocess.Popen(
            board.command(*words), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=os.environ | {"MICROPYPATH": board.path},
        )  # fmt: skip
    running.append(process)
    until(lambda: process.poll() is not None or cli(board.config, "topics").returncode != 3)
    assert process.poll() is None, board.log.read_text()
    return process


def data_dir(board: Board) -> Path:
    return Path(json.loads(board.config.read_text())["data_dir"])


def lines(count: int, first: int = 0) -> bytes:
    return b"".join([b'{"n":%d,"k":"key %d"}\n' % (n, n % 17) for n in range(first, first + count)])
