"""The bounds of a MicroPython edge's control socket: limits are kept, and hostile bytes, a crowd or a full heap end no node."""

import random
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import mpy
from board_process import HEAP, Board, serve, stored, until
from lite_board import Running, cli, data_dir, lines, lite, told, up
from mosquitto import Mosquitto
from streamline_edge.control_client import AgentError, ControlClient, NoAgent

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]

KEEPS_BYTES_MAX = 12_000  # of the heap, after all that it loaded is gone: names, and noise of the collector
LET_GO_SECS = 4  # it lets go of what a command loaded when nobody has asked for a while; nothing outside shows when


def test_limits_are_set_kept_over_restarts_and_given_back(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port(), resources={"max_storage": 8388608, "max_connections": 4})
    process = up(board, running)
    done = cli(board.config, "resources", "limit", "--storage", "2MB", "--policy", "reject", "--cpu", "90%")
    assert done.returncode == 0 and b"2.0 MB" in done.stdout and b"reject" in done.stdout, done
    for words, text in (
        (("--files", "50"), b"max_file_descriptors: a board"),
        (("--storage", "1GB"), b"use at most 134217728"),
        (("--connections", "1"), b"use at least 2"),  # nobody could get in any more
    ):
        done = cli(board.config, "resources", "limit", *words)
        assert done.returncode == 2 and text in done.stderr, done
    done = cli(board.config, "resources", "limit", "--memory", "1KB")
    assert done.returncode == 2 and b"less than this node needs" in done.stderr
    process.kill()
    process.wait()
    process = up(board, running)
    found = told(board, "resources")
    assert found["set"] == ["cpu", "eviction_policy", "storage"] and found["resources"]["storage"]["limit"] == 2 << 20
    assert found["eviction_policy"] == "reject" and found["resources"]["cpu"]["limit"] == 90
    clients = [ControlClient(str(data_dir(board))) for _ in range(3)]
    for client in clients:
        client.request("topics")
    done = cli(board.config, "status")
    assert done.returncode == 1 and b"resources.max_connections: 4 of 4" in done.stderr, done
    for client in clients:
        client.close()
    assert cli(board.config, "resources", "limit", "--reset").returncode == 0
    found = told(board, "resources")
    assert found["set"] == [] and found["resources"]["storage"]["limit"] == 8 << 20 and found["eviction_policy"] == "oldest"
    assert not (data_dir(board) / "limits.json").exists()
    (data_dir(board) / "limits.json").write_text("[]")
    process.kill()
    process.wait()
    done = subprocess.run(board.command(), env={"MICROPYPATH": board.path}, capture_output=True, timeout=100, check=False)
    assert done.returncode == 2 and b"limits.json: this is no list of limits" in done.stderr, done


def hostile(generator: random.Random, n: int) -> bytes:
    """Bytes that somebody may send who means no good, or another protocol."""
    junk = generator.randbytes(generator.randrange(1, 600))
    header = generator.choice([
        b"{}", b"[]", b"null", b"{", b'{"op":', b"[" * 900, b'{"a":' * 300, b"\xff\xfe", b'{"op": 5}', b'{"op": "produce"}',
        b'{"op": "status"}',
        b'{"op": "produce", "topic": "logs", "sizes": [-1]}', b'{"op": "produce", "topic": "logs", "sizes": [99999999]}',
        b'{"op": "produce", "topic": "logs", "sizes": [1, 2, true]}', b'{"op": "produce", "topic": 1, "sizes": []}',
        b'{"op": "produce", "topic": "logs", "sizes": [1], "key_sizes": [1, 1]}', b'{"op": "consume", "topic": "logs", "from": -5}',
        b'{"op": "consume", "topic": "logs", "from": 1e300}', b'{"op": "commit", "consumer": "", "topic": "logs", "epoch": 1}',
        b'{"op": "limit", "memory": "x"}', b'{"op": "plan", "budget": 9223372036854775808}', b'{"op": "forget", "consumer": null}',
        b'{"op": "\\ud800"}', b'{"id": {"a": [1]}, "op": "health"}', b'{"op": "consume", "topic": "logs", "consumer": "%s"}' % (b"x" * 70),
    ])  # fmt: skip
    body = generator.randbytes(generator.choice([0, 1, 3, 700, 9000]))
    kind = n % 5
    if kind == 0:
        return junk
    if kind == 1:
        return struct.pack(">II", generator.randrange(1 << 32), generator.randrange(1 << 32)) + junk
    if kind == 2:
        return struct.pack(">II", len(header), len(body) + generator.randrange(1, 99)) + header + body  # its end never comes
    return struct.pack(">II", len(header), len(body)) + header + body + (junk if kind == 3 else b"")


def test_hostile_bytes_end_their_connection_and_nothing_else(
    tmp_path: Path, free_port: Callable[[], int], running: Running, seed: int
) -> None:
    board = lite(tmp_path, free_port())
    process = up(board, running)
    assert cli(board.config, "produce", "logs", "--producer", "p", stdin=lines(100)).returncode == 0
    time.sleep(LET_GO_SECS)
    at_rest = told(board, "status")["heap_bytes"]
    generator, path = random.Random(seed), str(data_dir(board) / "control.sock")
    answered = 0
    for n in range(400):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(5)
            stranger.connect(path)
            try:
                stranger.sendall(hostile(generator, n))
                if n % 3 == 0:
                    stranger.settimeout(0.05)
                    answered += len(stranger.recv(4096)) > 0
            except (TimeoutError, ConnectionError):
                pass
        assert process.poll() is None, board.log.read_text()[-2000:]
    assert answered > 20
    time.sleep(LET_GO_SECS)
    assert told(board, "ledger")[0]["produced"] >= 100  # "produce" of an empty list may be none, and an anonymous record is one
    assert told(board, "status")["heap_bytes"] < at_rest + 16_000
    assert cli(board.config, "consume", "logs").stdout.startswith(lines(100))


def test_half_a_request_is_ended_and_a_large_one_refused(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port())
    up(board, running)
    half = ControlClient(str(data_dir(board)))
    half.socket.sendall(struct.pack(">II", 40, 0) + b'{"op": ')
    large = ControlClient(str(data_dir(board)))
    with pytest.raises(AgentError, match="3000000 bytes is too large for this node, which takes 8192"):
        large.ask("produce", bytes(3_000_000), topic="logs", sizes=[3_000_000])
    assert large.request("topics")["takes"] == {"records": 128, "bytes": 8192}  # it goes on
    with pytest.raises(AgentError, match="this node takes 2048"):
        large.ask("produce", bytes(2000), topic="logs", sizes=[1] * 2000)
    with pytest.raises(NoAgent):
        large.request("topics")
    answer, _ = half.receive()
    assert answer["kind"] == "protocol" and "half a message" in answer["error"]


def test_many_clients_and_those_that_do_not_read(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port())
    up(board, running)
    assert cli(board.config, "produce", "logs", stdin=lines(20_000)).returncode == 0
    folder = str(data_dir(board))
    clients = [ControlClient(folder) for _ in range(8)]
    for client in clients:
        assert client.request("topics")["ok"]
    done = cli(board.config, "status")
    assert done.returncode == 1 and b"8 connections are open" in done.stderr, done
    clients.pop().close()
    assert cli(board.config, "status").returncode == 0
    for client in clients:
        client.send({"op": "consume", "topic": "logs", "from": 0})  # more than a socket's buffer holds, and nobody reads it
    clients.append(ControlClient(folder))
    clients[-1].send({"op": "consume", "topic": "logs", "from": 0})
    until(lambda: cli(board.config, "status").returncode == 0, 60)  # one that has not read for 5 s makes room
    done = cli(board.config, "produce", "logs", stdin=lines(30))
    assert done.returncode == 0, done
    with pytest.raises((NoAgent, AgentError)):
        for client in clients:  # one of them has been closed
            for _ in range(20_000):
                if not client.receive()[0].get("more"):
                    break
    for client in clients:
        client.close()
    assert told(board, "ledger")[0]["produced"] == 20_030


def test_memory_is_given_back_when_nobody_asks(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port())
    running.append(board.start())
    until(lambda: board.status())
    at_rest = heap(board)
    peaks = []
    for _ in range(3):
        assert cli(board.config, "produce", "logs", stdin=lines(500)).returncode == 0
        for words in (("status",), ("health",), ("resources",), ("queue",), ("sync", "plan", "--budget", "1MB"), ("consume", "logs")):
            assert cli(board.config, *words).returncode == 0, words
        peaks.append(heap(board))
        time.sleep(8)  # it lets go of what it loaded; then a collection
        peaks.append(min([heap(board) for _ in range(3)]))
    print("heap in use: %d at rest; just after many questions, and when let go: %s" % (at_rest, peaks))
    assert peaks[5] < peaks[1] + 4000  # names of what was loaded stay, once
    assert peaks[5] < at_rest + KEEPS_BYTES_MAX and peaks[5] < peaks[4]


def test_a_heap_that_is_too_small_for_an_answer_is_no_end(mosquitto: Mosquitto, tmp_path: Path, running: Running) -> None:
    board, store = Board(tmp_path, mosquitto.port), tmp_path / "cloud.db"
    assert board.heap == HEAP  # of the smallest board; and its bytecode is in it
    board.run("--lines", "logs", lines=lines(20_000))
    process = up(board, running)
    running.append(serve(mosquitto.port, store))
    codes = []
    while len(stored(store)) < 20_000:
        for words in (("status",), ("produce", "logs"), ("consume", "logs"), ("resources",), ("health",)):
            done = cli(board.config, *words, stdin=b"")
            codes.append(done.returncode)
            assert done.returncode == 0 or b"has no memory" in done.stderr, done
    assert process.poll() is None and stored(store) == lines(20_000).splitlines()
    print("%d of %d were answered" % (codes.count(0), len(codes)))


def heap(board: Board) -> int:
    time.sleep(1.1)  # it says so each second
    value: int = board.status()["heap_bytes"]
    return value
