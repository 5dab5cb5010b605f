"""Asking a board: a real MicroPython in a heap of 256 KB, behind a real mosquitto, while it syncs and while it rests."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import mpy
from board_process import ROOT, Board, serve, stored, until
from mosquitto import Mosquitto
from streamline_core import ask
from streamline_core.answer import OPS
from streamline_host.broker_url import BrokerUrl
from streamline_host.mqtt_link import MqttLink

sys.path.insert(0, str(ROOT / "tests" / "host"))
from agent_process import ENVIRONMENT

FLOOD = 10_000
HEAP = "352k"
RECORDS = 20_000
LINE = b"x" * 200
KEEPS_BYTES_MAX = 6000  # of the heap, after all that it loaded to answer is gone: noise of the collector

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]


def told(port: int, *words: str) -> Any:
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", "--node", "board", "--endpoint", "mqtt://127.0.0.1:%d" % port]
    command += ["--timeout", "20"]
    done = subprocess.run([*command, *words, "--json"], env=ENVIRONMENT, capture_output=True, text=True, timeout=100, cwd="/", check=False)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def asked(folder: Path, port: int) -> Board:
    """A board with the memory to answer, too: here its modules lie in the heap, where those of an image do not."""
    board = Board(folder, port)
    board.heap = HEAP
    return board


def test_a_board_answers_what_a_host_does(mosquitto: Mosquitto, tmp_path: Path, running: list["subprocess.Popen[bytes]"]) -> None:
    board = asked(tmp_path, mosquitto.port)
    process = board.start("--lines", "logs")
    running.append(process)
    assert process.stdin is not None
    process.stdin.write(b"%s\n" % LINE * 300)
    process.stdin.flush()
    until(lambda: board.durable() == 300 and board.status()["state"] != "offline")
    at_rest = board.status()["heap_bytes"]
    for _ in range(3):
        status = told(mosquitto.port, "status")
        assert status["node"] == "board" and status["interpreter"].startswith("MicroPython") and status["link"]["connected"]
        assert told(mosquitto.port, "ledger") == status["streams"] and status["streams"][0]["pending"] == 300
        assert told(mosquitto.port, "health") == {"healthy": True, "problems": []}
        assert [row["topic"] for row in told(mosquitto.port, "topics")] == ["logs"]
        queue = told(mosquitto.port, "queue")
        assert queue["depth"] == 300 and queue["rows"][0]["topic"] == "logs"
        assert told(mosquitto.port, "resources")["resources"]["storage"]["used"] > 300 * len(LINE)
        assert told(mosquitto.port, "consumers") == []
        assert told(mosquitto.port, "sync", "status")["pending"] == 300
    time.sleep(8)  # it lets go of what it loaded; then a collection
    assert board.status()["heap_bytes"] < at_rest + KEEPS_BYTES_MAX, (at_rest, board.status()["heap_bytes"])
    assert process.poll() is None


def test_a_board_tells_of_a_backlog_that_does_not_move_when_asked_again(
    mosquitto: Mosquitto, tmp_path: Path, running: list["subprocess.Popen[bytes]"]
) -> None:
    board = asked(tmp_path, mosquitto.port)
    process = board.start("--lines", "logs")
    running.append(process)
    assert process.stdin is not None
    process.stdin.write(LINE + b"\n")
    process.stdin.flush()
    until(lambda: board.durable() == 1 and board.status()["state"] != "offline")
    assert told(mosquitto.port, "health")["healthy"]
    time.sleep(32)
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", "--node", "board", "--endpoint", "mqtt://127.0.0.1:%d" % mosquitto.port]
    command += ["--timeout", "20"]
    done = subprocess.run([*command, "health"], env=ENVIRONMENT, capture_output=True, text=True, timeout=100, cwd="/", check=False)
    assert done.returncode == 1 and "connected, but 1 records have not moved for 3" in done.stdout, done


def test_a_flood_of_questions_during_a_sync(mosquitto: Mosquitto, tmp_path: Path, running: list["subprocess.Popen[bytes]"]) -> None:
    board, store = asked(tmp_path, mosquitto.port), tmp_path / "cloud.db"
    board.run("--lines", "logs", lines=b"%s\n" % LINE * RECORDS)
    said: list[bytes] = []

    async def flood() -> None:
        url = BrokerUrl.parse("mqtt://127.0.0.1:%d" % mosquitto.port)
        topics = [("streamline/1/default/n/board/say", 0)]
        link = MqttLink(url, "flood", subscriptions=topics, on_message=lambda topic, payload: said.append(payload))
        link.start()
        while not link.connected:
            await asyncio.sleep(0.02)
        for n in range(FLOOD):
            payload = b'{"id": "f%d", "op": "%s"}' % (n, OPS[n % len(OPS)].encode())
            link.publish("streamline/1/default/n/board/ask", payload if n % 9 else b"\xff" * (n % 1500))
            if n % 10 == 0:
                await asyncio.sleep(0.01)
        await link.stop()

    process = board.start("--lines", "logs")
    running.append(process)
    thread = threading.Thread(target=lambda: asyncio.run(flood()))
    thread.start()
    running.append(serve(mosquitto.port, store))
    until(lambda: board.status().get("streams") and board.status()["streams"][0]["delivered"] == RECORDS)
    thread.join()
    assert process.stdin is not None and process.poll() is None
    process.stdin.close()
    assert process.wait(60) == 0 and stored(store) == [LINE] * RECORDS
    heads = [json.loads(piece.split(b"\n")[0]) for piece in said]
    assert len(said) > 10 and max(map(len, said)) <= ask.PIECE_BYTES_MAX
    assert len([head for head in heads if "error" in head]) < len(heads) // 2  # there may be no memory for one or the other
    after = board.status()
    print("%d pieces said; heap in use after a collection, at most: %d" % (len(said), after["heap_live_peak_bytes"]))
