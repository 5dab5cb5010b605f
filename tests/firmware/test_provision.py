"""Provisioning a board by `streamline-cli board`, with a stand-in for the board: MicroPython's prompt on a terminal (board_on_pty says what
of it is real), and mpremote as it comes."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mpy
from board_on_pty import FALLS, LOG_BYTES, PtyBoard
from board_process import ROOT, module_path, serve, until
from mosquitto import Mosquitto
from streamline_core.errors import UsageError
from streamline_edge import cli
from streamline_edge.board_port import BoardPort

pytest.importorskip("mpremote", reason="mpremote is not installed")
pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
    FALLS,
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
    """What it is; whoever looks starts it anew."""
    starts = standin.starts
    done = board("info", "--port", standin.port, "--json")
    assert done.returncode == 0, done.stderr
    until(lambda: standin.starts == starts + 1)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_new_board_is_provisioned_runs_and_delivers(standin: PtyBoard, mosquitto: Mosquitto, tmp_path: Path) -> None:
    before = info(standin)
    assert before["node_id"] is None and before["streamline"] and not before["lacks"] and before["log_bytes"] == LOG_BYTES
    assert 400_000 < before["heap_bytes"] < 512 << 10
    config, secret = tmp_path / "edge.yaml", tmp_path / "secret"
    config.write_text(CONFIG % ("192.0.2.1", 1))
    secret.write_text(SECRET + "\n")
    store = tmp_path / "cloud.db"
    bridge = serve(mosquitto.port, store)
    broker = "mqtt://127.0.0.1:%d" % mosquitto.port
    words = ["--config", str(config), "--node-id", "pico-7", "--broker", broker, "--password-file", str(secret)]
    try:
        starts = standin.starts
        # A variable of the one who provisions is not meant for the board.
        done = board("provision", "--port", standin.port, *words, "--json", STREAMLINE_EDGE_NODE_ID="somebody-else")
        assert done.returncode == 0, done.stdout + done.stderr
        said = json.loads(done.stdout)
        assert said["running"] and said["node_id"] == "pico-7"
        assert len(said["files"]) == 2 and re.fullmatch("/secret~[0-9a-f]{8}", said["files"][0]) and said["files"][1] == "/edge.json"
        assert said["heap_bytes"] <= said["board"]["heap_bytes"]
        assert SECRET not in done.stdout + done.stderr
        assert standin.starts == starts + 1
        until(lambda: store.exists() and SECRET.encode() not in store.read_bytes() and delivered(store))
        # Whoever only looks, checks, or is refused leaves it running.
        after = info(standin)
        assert after["node_id"] == "pico-7" and after["files_free_bytes"] < before["files_free_bytes"]
        still_delivers(store)
        assert board("provision", "--port", standin.port, *words, "--check").returncode == 0
        still_delivers(store)
        config.write_text(config.read_text().replace("frame_bytes_max: 2304", "frame_bytes_max: 64KB"))
        assert board("provision", "--port", standin.port, *words).returncode == 2
        still_delivers(store)
    finally:
        bridge.kill()
        bridge.wait()


def still_delivers(store: Path) -> None:
    before = delivered(store)
    until(lambda: delivered(store) > before + 2)


def delivered(store: Path) -> int:
    """Nothing may be lost but what Ctrl-C tore off in the middle of a commit, and said so."""
    from streamline_cloud.store_reader import StoreReader
    from streamline_host.codecs import codecs

    with StoreReader(store, codecs("zstd")) as reader:
        rows = [row for row in reader.ledger() if row.node == "pico-7"]
    assert all(set(row.lost) <= {"torn"} for row in rows), rows
    return sum(row.delivered for row in rows)


@pytest.mark.parametrize(
    ("line", "words", "asked"),
    [
        ("frame_bytes_max: 64KB", "of heap, the board has 5", True),
        ("resources: {max_storage: 2MB}", "the board's log partition has room for 802,816", True),
        ("resources: {max_storage: 16MB}", "it remembers 256", False),
        ("cloud_endpoint: https://broker.example", "it takes", False),
        ("ca_file: none.pem", "none.pem cannot be read", False),
        ("ca_file: main.py", "another file is /main.py on the board", False),
        ("password_file: streamline-data", "another file is /streamline-data on the board", False),
        ("node_id: not a name", "node_id", False),
    ],
)
def test_what_a_board_cannot_bear_is_refused_with_the_numbers_and_nothing_is_written(
    standin: PtyBoard, tmp_path: Path, line: str, words: str, asked: bool
) -> None:
    """asked: whether the board had to be, and so was started anew."""
    for own in ("main.py", "streamline-data"):
        (tmp_path / own).write_text("x")
    config = tmp_path / "edge.yaml"
    key = line.partition(":")[0]
    text = "".join(row + "\n" for row in (CONFIG % ("127.0.0.1", 1)).splitlines() if not row.strip().startswith(key + ":"))
    config.write_text("%s  %s\n" % (text, line))
    until(lambda: standin.starts == 1)
    done = board("provision", "--port", standin.port, "--config", str(config))
    assert done.returncode == 2 and words in done.stderr, done.stdout + done.stderr
    until(lambda: standin.starts == 1 + asked)
    assert info(standin)["node_id"] is None


def test_who_is_cut_off_while_writing_leaves_the_old_configuration_with_its_files_and_running(
    standin: PtyBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, merge = tmp_path / "edge.yaml", tmp_path / "mine.py"
    topic = "  local_topics: [{topic: t, kind: keyed, strategy: custom_merge, merge: 'python:mine.py'}]\n"
    config.write_text(CONFIG % ("127.0.0.1", 1) + topic)
    merge.write_text("def merge(key, a, b):\n    return a\n")
    words = ["board", "provision", "--port", standin.port, "--config", str(config)]
    assert cli.main(words) == 0, capsys.readouterr()
    old = listed(standin)
    capsys.readouterr()
    # Everything is renamed but the configuration; then the cable is pulled.
    merge.write_text("this is no Python\n")
    real = BoardPort._mpremote

    def cut(self: BoardPort, *what: str) -> str:
        if "os.rename" in what[-1]:
            real(self, "exec", what[-1].partition("os.rename('/edge.json")[0])
            raise UsageError("the cable was pulled")
        return real(self, *what)

    starts = standin.starts
    with monkeypatch.context() as patch:
        patch.setattr(BoardPort, "_mpremote", cut)
        assert cli.main([*words, "--node-id", "another"]) == 2 and "the cable was pulled" in capsys.readouterr().err
    until(lambda: standin.starts == starts + 1)
    assert info(standin)["node_id"] == "template"
    assert set(old) < set(listed(standin))
    # It ran with what it had: a module that does not load would have ended in safe mode. And the next one clears up.
    merge.write_text("def merge(key, a, b):\n    return b\n")
    assert cli.main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    there = [name for name in listed(standin) if name.startswith(("mine", "edge"))]
    assert sorted("/" + name for name in there) == sorted(said["files"]) and not set(there) <= set(old)


def listed(standin: PtyBoard) -> list[str]:
    port = BoardPort(standin.port)
    with port.held():
        found: list[str] = eval(port._mpremote("exec", "import os; print(os.listdir('/'))"))
    return found


def test_a_check_says_that_it_fits_and_writes_nothing(standin: PtyBoard, tmp_path: Path) -> None:
    config = tmp_path / "edge.yaml"
    config.write_text(CONFIG % ("127.0.0.1", 1))
    done = board("provision", "--port", standin.port, "--config", str(config), "--check")
    assert done.returncode == 0 and "it fits, and nothing was written" in done.stdout, done.stderr
    assert "resources.max_storage is" in done.stderr
    until(lambda: standin.starts == 2)
    assert info(standin)["node_id"] is None


def test_what_its_image_was_built_without_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "board").mkdir()
    shutil.copytree(module_path().rpartition(":")[2], tmp_path / "modules")
    (tmp_path / "modules" / "streamline_core" / "tables.mpy").unlink()
    config = tmp_path / "edge.yaml"
    config.write_text(CONFIG % ("127.0.0.1", 1) + "  local_topics: [{topic: t, kind: keyed}]\n")
    with PtyBoard(tmp_path / "board", modules=tmp_path / "modules") as bare:
        assert info(bare)["lacks"] == ["keyed topics"]
        done = board("provision", "--port", bare.port, "--config", str(config))
        assert done.returncode == 2 and "topic t: what is on the board was built without keyed topics" in done.stderr, done.stderr
        assert info(bare)["node_id"] is None


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
