"""Provisioning a board by `streamline-cli board`, with a stand-in for the board: MicroPython's prompt on a terminal (board_on_pty says what
of it is real), and mpremote as it comes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mpy
from board_on_pty import LOG_BYTES, PtyBoard
from board_process import ROOT, serve, until
from mosquitto import Mosquitto

pytest.importorskip("mpremote", reason="mpremote is not installed")
pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]

SECRET = "very-secret-7"
CONFIG = """\
edge:
  node_id: template
  cloud_endpoint: mqtt://%s:%d
  frame_bytes_max: 2304
  log: {segment_bytes: 16KB, batch_bytes: 2KB, buffer_bytes: 32KB}
  sync: {retry: {initial_ms: 50, max_ms: 400}}
  sync_topics: [load, memory]
"""


def board(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")])} | more
    command = [sys.executable, "-m", "streamline_edge.cli", "board", *words]
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=110, check=False)


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[PtyBoard]:
    folder = tmp_path / "board"
    folder.mkdir()
    with PtyBoard(folder) as made:
        yield made


def info(standin: PtyBoard) -> dict[str, Any]:
    done = board("info", "--port", standin.port, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_new_board_is_provisioned_runs_and_delivers(standin: PtyBoard, mosquitto: Mosquitto, tmp_path: Path) -> None:
    before = info(standin)
    assert before["node_id"] is None and before["streamline"] and before["log_bytes"] == LOG_BYTES
    assert 400_000 < before["heap_bytes"] < 512 << 10
    config, secret = tmp_path / "edge.yaml", tmp_path / "secret"
    config.write_text(CONFIG % ("192.0.2.1", 1))
    secret.write_text(SECRET + "\n")
    store = tmp_path / "cloud.db"
    bridge = serve(mosquitto.port, store)
    broker = "mqtt://127.0.0.1:%d" % mosquitto.port
    try:
        words = ["--config", str(config), "--node-id", "pico-7", "--broker", broker, "--password-file", str(secret)]
        # A variable of the one who provisions is not meant for the board.
        done = board("provision", "--port", standin.port, *words, "--json", STREAMLINE_EDGE_NODE_ID="somebody-else")
        assert done.returncode == 0, done.stdout + done.stderr
        said = json.loads(done.stdout)
        assert said["running"] and said["node_id"] == "pico-7" and said["files"] == ["/secret", "/edge.json"]
        assert said["heap_bytes"] <= said["board"]["heap_bytes"]
        assert SECRET not in done.stdout + done.stderr
        assert standin.starts == 2
        until(lambda: store.exists() and SECRET.encode() not in store.read_bytes() and delivered(store))
    finally:
        bridge.kill()
        bridge.wait()
    after = info(standin)
    assert after["node_id"] == "pico-7" and after["files_free_bytes"] < before["files_free_bytes"]


def delivered(store: Path) -> int:
    from streamline_cloud.store_reader import StoreReader
    from streamline_host.codecs import codecs

    with StoreReader(store, codecs("zstd")) as reader:
        return sum(row.delivered for row in reader.ledger() if row.node == "pico-7")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("frame_bytes_max: 64KB", "of heap, the board has 5"),
        ("resources: {max_storage: 2MB}", "the board's log partition has room for 802,816"),
        ("resources: {max_storage: 16MB}", "it remembers 256"),
        ("cloud_endpoint: https://broker.example", "it takes"),
        ("ca_file: none.pem", "none.pem cannot be read"),
        ("node_id: not a name", "node_id"),
    ],
)
def test_what_a_board_cannot_bear_is_refused_with_the_numbers_and_nothing_is_written(
    standin: PtyBoard, tmp_path: Path, line: str, words: str
) -> None:
    config = tmp_path / "edge.yaml"
    key = line.partition(":")[0]
    text = "".join(row + "\n" for row in (CONFIG % ("127.0.0.1", 1)).splitlines() if not row.strip().startswith(key + ":"))
    config.write_text("%s  %s\n" % (text, line))
    done = board("provision", "--port", standin.port, "--config", str(config))
    assert done.returncode == 2 and words in done.stderr, done.stdout + done.stderr
    assert info(standin)["node_id"] is None and standin.starts == 1


def test_a_check_says_that_it_fits_and_writes_nothing(standin: PtyBoard, tmp_path: Path) -> None:
    config = tmp_path / "edge.yaml"
    config.write_text(CONFIG % ("127.0.0.1", 1))
    done = board("provision", "--port", standin.port, "--config", str(config), "--check")
    assert done.returncode == 0 and "it fits, and nothing was written" in done.stdout, done.stderr
    assert "resources.max_storage is" in done.stderr and info(standin)["node_id"] is None


def test_a_wifi_file_is_checked_copied_and_never_shown(standin: PtyBoard, tmp_path: Path) -> None:
    wifi = tmp_path / "wifi.json"
    config = tmp_path / "edge.yaml"
    config.write_text(CONFIG % ("127.0.0.1", 1))
    short = '{"ssid": "a", "password": "%s"}' % SECRET[:4]
    for text, words in (("[", "not JSON"), (short, "password must have"), ('{"x": "y"}', "x is not known")):
        wifi.write_text(text)
        done = board("provision", "--port", standin.port, "--config", str(config), "--wifi-file", str(wifi))
        assert done.returncode == 2 and words in done.stderr and SECRET[:4] not in done.stderr.replace(str(tmp_path), ""), done.stderr
    assert info(standin)["node_id"] is None
    wifi.write_text(json.dumps({"ssid": "a", "password": SECRET}))
    done = board("provision", "--port", standin.port, "--config", str(config), "--wifi-file", str(wifi))
    assert done.returncode == 0 and "/wifi.json" in done.stdout and SECRET not in done.stdout + done.stderr, done.stdout + done.stderr
    assert info(standin)["wifi_file"]


def test_no_board_is_said_at_once(tmp_path: Path) -> None:
    done = board("info", "--port", str(tmp_path / "none"))
    assert done.returncode == 2 and str(tmp_path / "none") in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_board_that_does_not_run_with_it_says_why(standin: PtyBoard, tmp_path: Path) -> None:
    """The merge module is a file that is there, and no module: only the board can find that out."""
    (tmp_path / "mine.py").write_text("x = 1\n")
    config = tmp_path / "edge.yaml"
    topic = "  local_topics: [{topic: t, kind: keyed, strategy: custom_merge, merge: 'python:mine.py'}]\n"
    config.write_text(CONFIG % ("127.0.0.1", 1) + topic)
    done = board("provision", "--port", standin.port, "--config", str(config))
    assert done.returncode == 1 and "does not run" in done.stdout, done.stdout + done.stderr
    assert "safe mode" in done.stdout and "no function merge" in done.stdout
    # And with a better one it does.
    (tmp_path / "mine.py").write_text("def merge(key, a, b):\n    return a\n")
    done = board("provision", "--port", standin.port, "--config", str(config))
    assert done.returncode == 0 and "it runs" in done.stdout, done.stdout + done.stderr
