"""The control socket of a MicroPython edge over the lives of its node: private, gone when it ends, and what it took is stored once."""

import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import mpy
from agent_process import ENVIRONMENT
from board_process import Board, serve, stored, until
from lite_board import Running, cli, data_dir, lines, lite, told, up
from mosquitto import Mosquitto
from streamline_edge.control_client import ControlClient

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]


def test_the_socket_is_private_and_goes_with_the_node(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port(), data_dir="a dir's/data")
    path = tmp_path / "a dir's" / "data" / "control.sock"
    process = up(board, running)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_ISSOCK(path.stat().st_mode)
    second = subprocess.run(board.command(), env={"MICROPYPATH": board.path}, capture_output=True, timeout=100, check=False)
    assert second.returncode == 2 and path.exists()
    assert cli(board.config, "produce", "logs", stdin=lines(10)).returncode == 0
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0 and not path.exists()
    done = cli(board.config, "status")
    assert done.returncode == 3 and b"no agent answers in %s" % os.fsencode(path.parent) in done.stderr
    process = up(board, running)
    process.kill()
    process.wait()
    assert path.exists() and cli(board.config, "status").returncode == 3
    up(board, running)
    assert told(board, "ledger")[0]["produced"] == 10
    deep = Board(tmp_path, free_port(), data_dir="x" * 120)
    done = subprocess.run(deep.command(), env={"MICROPYPATH": board.path}, capture_output=True, timeout=100, check=False)
    assert done.returncode == 2 and b"107 are allowed; choose a shorter data directory" in done.stderr, done


def test_a_call_is_told_by_the_name_it_was_called_by(tmp_path: Path, free_port: Callable[[], int]) -> None:
    board = lite(tmp_path, free_port())
    program = mpy.find_micropython()
    assert program is not None
    call = "import sys; from streamline_board.main import main; sys.exit(main(sys.argv[1:], 'streamline-edge-lite'))"
    (tmp_path / "call.py").write_text(call)
    for words, code, text in (
        (["--version"], 0, "streamline-edge-lite 0."),
        (["--help"], 0, "usage: streamline-edge-lite --config FILE"),
        (["--odd"], 2, "streamline-edge-lite: --odd is not understood"),
        (["--config"], 2, "streamline-edge-lite: --config needs a value"),
        ([], 2, "streamline-edge-lite: --config FILE"),
    ):
        command = [program, str(tmp_path / "call.py"), *words]
        done = subprocess.run(command, env={"MICROPYPATH": board.path}, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == code and (done.stdout + done.stderr).startswith(text), done
        assert ("--repl" in done.stdout and "--heap" in done.stdout) == (words == ["--help"])
    command = [program, "-m", "streamline_board", "--help"]
    plain = subprocess.run(command, env={"MICROPYPATH": board.path}, capture_output=True, text=True, timeout=100, check=True).stdout
    assert "--status" in plain and "--repl" not in plain and "%" not in plain  # its launcher's, which is not there


def test_produce_and_questions_while_it_syncs(mosquitto: Mosquitto, tmp_path: Path, running: Running) -> None:
    board, store = lite(tmp_path, mosquitto.port), tmp_path / "cloud.db"
    up(board, running)
    running.append(serve(mosquitto.port, store))
    hung = ControlClient(str(data_dir(board)))
    hung.send({"op": "consume", "topic": "logs", "from": 0, "follow": True})  # and it never reads
    asked: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            asked.append(cli(board.config, ("status", "queue", "health", "ledger", "resources")[len(asked) % 5]).returncode)

    thread = threading.Thread(target=ask)
    thread.start()
    done = cli(board.config, "produce", "logs", "--producer", "p", stdin=lines(10_000))
    assert done.returncode == 0 and b"10000 lines: 10000 stored, 0 repeats skipped" in done.stderr, done
    until(lambda: len(stored(store)) == 10_000)
    done = cli(board.config, "produce", "logs", "--ack", "cloud", stdin=lines(1000, 10_000))
    assert done.returncode == 0 and len(stored(store)) == 11_000, done
    over.set()
    thread.join()
    hung.close()
    assert stored(store) == lines(11_000).splitlines() and set(asked) <= {0, 1} and asked.count(0) > len(asked) // 2
    assert told(board, "ledger")[0]["delivered"] == 11_000


def test_kill_9_and_the_same_lines_again(mosquitto: Mosquitto, tmp_path: Path, running: Running, seed: int) -> None:
    board, store, generator = lite(tmp_path, mosquitto.port), tmp_path / "cloud.db", random.Random(seed)
    running.append(serve(mosquitto.port, store))
    process = up(board, running)
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", "--config", str(board.config), "produce", "logs", "--producer", "p"]
    (tmp_path / "lines").write_bytes(lines(30_000))
    for _ in range(4):  # the producer, or the node, dies in the middle
        with (tmp_path / "lines").open("rb") as file:
            producer = subprocess.Popen(command, stdin=file, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        running.append(producer)
        time.sleep(generator.uniform(0.2, 0.8))
        if generator.random() < 0.3:
            producer.kill()
        process.kill()
        process.wait()
        process = up(board, running)
        time.sleep(generator.uniform(0, 0.5))
        producer.kill()
        producer.wait()
    done = cli(board.config, "produce", "logs", "--producer", "p", stdin=lines(30_000))
    assert done.returncode == 0 and b"30000 lines" in done.stderr, done
    until(lambda: len(stored(store)) >= 30_000)
    assert stored(store) == lines(30_000).splitlines()
    assert cli(board.config, "consume", "logs").stdout == lines(30_000)
