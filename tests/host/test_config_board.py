"""`edge config export`: a configuration for a board, and what a board cannot do said by name."""

import ast
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import mpy
from board_process import HEAP, ROOT, module_path
from streamline_core.config import EdgeConfig
from streamline_edge import cli, config_board

FULL = """
edge:
  node_id: gate-7
  cloud_endpoint: mqtts://someone:secret@broker.example:8884
  password_file: secrets/password
  ca_file: /etc/ssl/ca.pem
  data_dir: /var/lib/streamline
  sync: {interval_secs: 30s, compression: zstd, windows: [sat], condition: "file:parked"}
  resources: {max_storage: 64MB, max_file_descriptors: 100, max_connections: 4}
  sync_topics:
    - sensors
    - {topic: carts, kind: keyed, direction: bidirectional, strategy: custom_merge, merge: "python:merges/carts.py"}
  broker: embedded
  ingest: [{from: "x/#", topic: sensors}]
  serial: [{port: /dev/ttyACM0}]
"""


def export(folder: Path, text: str, code: int = 0, *words: str) -> None:
    (folder / "edge.yaml").write_text(text)
    assert cli.main(["edge", "config", "export", "--target", "micropython", "--config", str(folder / "edge.yaml"), *words]) == code


def test_what_a_board_has_no_use_for_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(tmp_path, FULL)
    out, err = capsys.readouterr()
    given = json.loads(out)
    assert given == {
        "node_id": "gate-7",
        "cloud_endpoint": "mqtts://broker.example:8884",
        "password_file": "password",
        "ca_file": "ca.pem",
        "sync": {"interval_secs": "30s", "compression": "deflate", "windows": ["sat"], "condition": "file:parked"},
        "resources": {"max_storage": "64MB"},
        "sync_topics": [
            "sensors",
            {"topic": "carts", "kind": "keyed", "direction": "bidirectional", "strategy": "custom_merge", "merge": "python:carts.py"},
        ],
        "frame_bytes_max": 4096,
        "log": {
            "segment_bytes": 262144, "commit_interval_ms": 50, "buffer_bytes": 1048576, "producers_max": 8, "cursor_interval_ms": 600000,
        },
    }
    EdgeConfig.from_dict(given)
    notes = [line.removeprefix("streamline-cli: ") for line in err.splitlines()]
    assert [note.split()[0].rstrip(":") for note in notes] == [
        "broker", "ingest", "serial", "data_dir", "resources.max_file_descriptors", "resources.max_connections", "password_file", "ca_file",
        "sync.compression", "sync.windows", "sync.condition", "merge",
    ]  # fmt: skip
    assert f"password_file: copy {tmp_path}/secrets/password to the board as password, beside its configuration" in notes
    assert "secret@" not in out + err


def test_a_line_of_a_board_is_exported_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(tmp_path, "node_id: n\ncloud_endpoint: serial://1?baud=921600\n")
    assert json.loads(capsys.readouterr().out)["cloud_endpoint"] == "serial://1?baud=921600"


def test_frames_are_as_large_as_a_slow_line_carries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(tmp_path, "node_id: n\ncloud_endpoint: serial://1?baud=9600\n")
    assert json.loads(capsys.readouterr().out)["frame_bytes_max"] == 2376
    export(tmp_path, "node_id: n\ncloud_endpoint: serial://1\n")
    assert json.loads(capsys.readouterr().out)["frame_bytes_max"] == 4096
    export(tmp_path, "node_id: n\ncloud_endpoint: serial://1?baud=9600\nframe_bytes_max: 2377\n", 2)
    assert "for a board: frame_bytes_max: 2377 bytes take too long at 9600 baud; use at most 2376" in capsys.readouterr().err


@pytest.mark.parametrize(
    "endpoint",
    ["serial://x", "serial://1?speed=9600", "serial://1?baud=299", "serial://1?baud=fast", "serial://1?buffer=63", "serial+tcp://h"],
)
def test_a_line_that_a_board_would_refuse_is_refused(endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(tmp_path, "node_id: n\ncloud_endpoint: %s\n" % endpoint, 2)
    assert "cloud_endpoint" in (said := capsys.readouterr().err) and "serial://UART" in said, said


@pytest.mark.parametrize("endpoint", ["serial:///dev/ttyS1?baud=9600&buffer=4096", "serial+tcp://10.0.0.9:4001"])
def test_other_lines_are_taken(endpoint: str, tmp_path: Path) -> None:
    export(tmp_path, "node_id: n\ncloud_endpoint: %s\n" % endpoint)


def test_what_is_set_is_kept_and_defaults_of_this_machine_are_not(tmp_path: Path) -> None:
    export(tmp_path, "node_id: n\nlog: {producers_max: 3}\nframe_bytes_max: 8192\n", 0, "--out", str(tmp_path / "board.json"))
    assert json.loads((tmp_path / "board.json").read_text()) == {
        "node_id": "n",
        "log": {
            "producers_max": 3, "segment_bytes": 65536, "commit_interval_ms": 50, "buffer_bytes": 1048576, "cursor_interval_ms": 600000,
        },
        "frame_bytes_max": 8192,
        "sync": {"compression": "deflate"},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "resources: {max_storage: 64MB}\nlog: {segment_bytes: 64KB}",
            "log.segment_bytes: it remembers 256 of resources.max_storage; use at least 262144",
        ),
        ("cloud_endpoint: https://h", "cloud_endpoint: it takes mqtt://, mqtts://, serial://, serial+tcp://, not https://"),
        ("cloud_endpoint: mqtts://h", "ca_file: is missing"),
        ("sync: {condition: 'command:true'}", "sync.condition: it runs no commands"),
        ("merge: 'wasm:m.wasm'", "merge: wasm:m.wasm: it runs no WebAssembly"),
        ("log: {batch_bytes: 16KB}", "log.batch_bytes: 16384 does not fit a frame of frame_bytes_max; use at most 3968"),
    ],
)
def test_what_a_board_would_refuse_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    export(tmp_path, "node_id: n\n" + text, 2)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("streamline-cli: for a board: " + said)


def test_the_defaults_of_a_board_are_those_of_the_firmware() -> None:
    tree = ast.parse((ROOT / "firmware/streamline_board/configuration.py").read_text())
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.startswith("BOARD_"):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    assert found.pop("BOARD_RESOURCE_DEFAULTS")["max_storage"] == found["BOARD_LOG_DEFAULTS"]["segment_bytes"] * found["BOARD_SEGMENTS_MAX"]
    assert found == {name: getattr(config_board, name) for name in ("BOARD_DEFAULTS", "BOARD_LOG_DEFAULTS", "BOARD_SEGMENTS_MAX")}


@pytest.mark.micropython
@pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed")
@pytest.mark.parametrize(("keyed", "heap"), [(False, HEAP), (True, "512k")])
def test_the_real_firmware_takes_it(tmp_path: Path, keyed: bool, heap: str) -> None:
    """It runs with it, and stores what it is given. The code of keyed topics is not frozen here: it takes room in the heap."""
    text = FULL.replace("mqtts://someone:secret@broker.example:8884", "mqtt://someone@127.0.0.1:1").replace("ca_file", "#")
    if not keyed:
        text = "\n".join(line for line in text.splitlines() if "carts" not in line)
    export(tmp_path, text, 0, "--out", str(tmp_path / "board.json"))
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "carts.py").write_text("def merge(key, earlier, later):\n    return later\n")
    program = mpy.find_micropython()
    assert program is not None
    command = [program, "-X", "heapsize=" + heap, "-m", "streamline_board", "--config", "board.json", "--status", "--lines", "sensors"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"MICROPYPATH": module_path()}, input=b"1\n2\n", capture_output=True, timeout=60
    )  # fmt: skip
    assert done.returncode == 0, done
    status = json.loads(done.stdout.splitlines()[-1])
    assert status["node"] == "gate-7" and {row["topic"]: row["produced"] for row in status["streams"]}["sensors"] == 2
