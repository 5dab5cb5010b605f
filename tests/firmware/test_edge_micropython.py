"""The MicroPython edge, its core as bytecode and its heap 256 KB, against a real mosquitto and the real bridge and store."""

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import mpy
from board_process import ROOT, Board, serve, stored, until
from mosquitto import Mosquitto
from streamline_core.errors import UsageError
from streamline_edge.data_dir import DataDirLock
from streamline_host.broker_url import BrokerUrl
from streamline_host.mqtt_link import MqttLink

RECORD_BYTES = 213
BACKLOG = 100_000

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]


def lines(count: int, first: int = 0) -> list[bytes]:
    return [(b'{"n": %d, "text": "' % n).ljust(RECORD_BYTES - 2, b"x") + b'"}' for n in range(first, first + count)]


def text(values: list[bytes]) -> bytes:
    return b"".join([value + b"\n" for value in values])


def test_backlog_of_100_000(mosquitto: Mosquitto, tmp_path: Path, running: list["subprocess.Popen[bytes]"]) -> None:
    board, store = Board(tmp_path, mosquitto.port), tmp_path / "cloud.db"
    values = lines(BACKLOG)
    before = board.run("--lines", "logs", lines=text(values))
    (row,) = before["streams"]
    assert row["produced"] == BACKLOG and row["pending"] == BACKLOG and not row["lost"]
    running.append(serve(mosquitto.port, store))
    after = board.run("--lines", "logs", "--until-drained")
    (row,) = after["streams"]
    assert row["delivered"] == BACKLOG and row["pending"] == 0
    assert stored(store) == values
    print("heap in use after a collection, at most: %d while storing, %d while syncing"
          % (before["heap_live_peak_bytes"], after["heap_live_peak_bytes"]))


def test_kill_9_amid_a_sync(mosquitto: Mosquitto, tmp_path: Path, running: list["subprocess.Popen[bytes]"]) -> None:
    board, store = Board(tmp_path, mosquitto.port), tmp_path / "cloud.db"
    running.append(serve(mosquitto.port, store))
    promised = 0
    fed = 0
    for _ in range(3):
        process = board.start("--lines", "logs")
        running.append(process)
        assert process.stdin is not None
        base = len(stored(store))
        target = promised + 1
        while board.durable() < target or len(stored(store)) <= base:
            process.stdin.write(text(lines(200, fed)))
            process.stdin.flush()
            fed += 200
        process.kill()
        process.wait()
        promised = max(promised, board.durable())
    final = board.run("--lines", "logs", "--until-drained")
    (row,) = final["streams"]
    got = stored(store)
    # A kill may cut a batch off in the middle of its write: never reported durable, and said to be torn rather than forgotten.
    assert set(row["lost"]) <= {"torn"} and row["pending"] == 0, row
    assert row["produced"] == len(got) + row["lost"].get("torn", 0) >= promised, row
    numbers = [json.loads(value)["n"] for value in got]
    assert numbers == sorted(set(numbers)), "out of order, or twice"


def test_broker_and_hub_come_and_go_and_garbage_is_counted(
    mosquitto: Mosquitto, tmp_path: Path, running: list["subprocess.Popen[bytes]"]
) -> None:
    board, store = Board(tmp_path, mosquitto.port), tmp_path / "cloud.db"
    mosquitto.kill()
    process = board.start("--lines", "logs")
    running.append(process)
    assert process.stdin is not None
    process.stdin.write(text(lines(500)))
    process.stdin.flush()
    until(lambda: board.durable() == 500)
    assert board.status()["state"] == "offline"
    mosquitto.start()
    until(lambda: board.status()["state"] in ("connecting", "hello"))
    running.append(serve(mosquitto.port, store))
    until(lambda: len(stored(store)) == 500)

    async def hurt() -> None:
        stranger = MqttLink(BrokerUrl.parse("mqtt://127.0.0.1:%d" % mosquitto.port), "stranger", on_message=lambda t, p: None)
        stranger.start()
        while not stranger.connected:
            await asyncio.sleep(0.02)
        for payload in (b"", b"\x00", b"\xff" * 2000, b"{}", b"\x81" * 300, b"\x9f" * 400):
            assert stranger.publish("streamline/1/default/n/board/rx", payload)
        for payload in (b"[]", b"nonsense", b'{"online": 1}', b"\xff\xfe"):
            stranger.publish("streamline/1/default/n/board/status", payload, 1)
        await asyncio.sleep(1)
        await stranger.stop()

    asyncio.run(hurt())
    until(lambda: board.status()["counters"]["refused_frames"] >= 6)
    mosquitto.kill()
    until(lambda: board.status()["state"] == "offline")
    mosquitto.start()
    process.stdin.write(text(lines(500, 500)))
    process.stdin.flush()
    until(lambda: len(stored(store)) == 1000)
    process.stdin.close()
    assert process.wait(60) == 0
    assert stored(store) == lines(1000)


def test_a_second_node_on_one_data_directory_is_refused(mosquitto: Mosquitto, tmp_path: Path) -> None:
    board = Board(tmp_path, mosquitto.port)
    process = board.start()
    try:
        until(lambda: board.status())
        second = subprocess.run(board.command(), env={"MICROPYPATH": board.path}, capture_output=True, text=True, timeout=100, check=False)
        assert second.returncode == 2 and "in use by another process" in second.stderr + second.stdout
    finally:
        process.kill()
        process.wait()


def test_an_agent_under_cpython_and_an_edge_under_micropython_refuse_each_other_s_data_directory(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    board = Board(tmp_path, mosquitto.port)
    process = board.start()
    try:
        until(lambda: board.status())
        with pytest.raises(UsageError, match="in use by a streamline-edge-lite"):
            DataDirLock(tmp_path / "data")
    finally:
        process.kill()
        process.wait()
    held = DataDirLock(tmp_path / "data")
    try:
        second = subprocess.run(board.command(), env={"MICROPYPATH": board.path}, capture_output=True, text=True, timeout=100, check=False)
        assert second.returncode == 2 and "in use by another process" in second.stderr + second.stdout
    finally:
        held.release()
    assert board.run("--lines", "logs", lines=b"x\n")["streams"][0]["produced"] == 1


MANY_SEGMENTS = '{"node_id": "a", "log": {"segment_bytes": 65536}, "resources": {"max_storage": "64MB"}}'


def test_what_is_wrong_is_named(mosquitto: Mosquitto, tmp_path: Path) -> None:
    board = Board(tmp_path, mosquitto.port, frame_bytes_max=99)
    result = subprocess.run(board.command(), env={"MICROPYPATH": board.path}, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 2 and "frame_bytes_max" in result.stderr and "99" in result.stderr
    wrong = (("[", "not JSON"), ("[]", "not a mapping"), ('{"node_id": "a", "log": 5}', "log"), (MANY_SEGMENTS, "at least 262144"))
    for content, words in wrong:
        board.config.write_text(content)
        result = subprocess.run(board.command(), env={"MICROPYPATH": board.path}, capture_output=True, text=True, timeout=100, check=False)
        assert result.returncode == 2 and words in result.stderr, result


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"password_file": "absent"}, "password_file: %s/absent: cannot be read: [Errno 2] ENOENT"),
        ({"data_dir": "/proc/absent"}, "data_dir: /proc/absent: cannot be made: [Errno 2] ENOENT"),
        ({"data_dir": "edge.json"}, "data_dir: %s/edge.json: is no folder"),
        (None, "%s/edge.json: cannot be read: [Errno 2] ENOENT"),
    ],
)
def test_a_file_that_cannot_be_had_is_named(mosquitto: Mosquitto, tmp_path: Path, given: dict[str, Any] | None, words: str) -> None:
    board = Board(tmp_path, mosquitto.port)
    if given is None:
        board.config.unlink()
    else:
        board.config.write_text(json.dumps(json.loads(board.config.read_text()) | given))
    result = subprocess.run(board.command(), env={"MICROPYPATH": board.path}, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result
    assert words.replace("%s", str(tmp_path)) in result.stderr, result.stderr


def keyed_heap(command: list[str]) -> list[str]:
    """Keyed topics load what a heap of 256 KB does not bear on a 64-bit machine."""
    assert "heapsize=256k" in command
    return [word if word != "heapsize=256k" else "heapsize=512k" for word in command]


def merging(module: str) -> dict[str, object]:
    return {"sync_topics": ["logs"], "local_topics": [{"topic": "lines", "kind": "keyed", "strategy": "custom_merge", "merge": module}]}


def test_a_merge_module_is_loaded_or_refused_by_name(mosquitto: Mosquitto, tmp_path: Path) -> None:
    (tmp_path / "no_merge.py").write_text("x = 1\n")
    python = "python:%s/" % tmp_path
    for module, words in ((python + "no_merge.py", "no function merge"), (python + "none.py", "none.py"), ("wasm:m.wasm", "WebAssembly")):
        board = Board(tmp_path, mosquitto.port, **merging(module))
        command = keyed_heap(board.command())
        result = subprocess.run(command, env={"MICROPYPATH": board.path}, capture_output=True, text=True, timeout=100, check=False)
        assert result.returncode == 2 and words in result.stderr and "topic lines" in result.stderr, result
    board = Board(tmp_path, mosquitto.port, **merging("python:%s" % (ROOT / "docs/examples/merge/union_of_lines.py")))
    command = keyed_heap(board.command("--status"))
    with board.log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | {"MICROPYPATH": board.path})
    try:
        until(lambda: board.status())
        assert board.status()["tables"][0]["strategy"] == "custom_merge"
    finally:
        process.kill()
        process.wait()
