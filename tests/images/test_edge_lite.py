"""The agent as one static file: it syncs, small, on every architecture; what it was built without it refuses by name."""

from __future__ import annotations

import json
import os
import platform
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from told_sizes import assert_told

import board_image
import toolchain
from board_process import ROOT, serve, stored, until
from mosquitto import Mosquitto

sys.path.insert(0, str(ROOT / "tests" / "host"))
from agent_process import ENVIRONMENT

ARCHITECTURES = {"x86_64": 100_000, "i686": 100_000, "armv6": 100_000, "armhf": 20_000, "arm64": 20_000}  # records that it syncs
IMAGE_BYTES_MAX = 2_621_440  # 2.5 MB, of the specification
RSS_KB_MAX = 6 * 1024
RECORD_BYTES = 213

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]


def runs_here(arch: str) -> bool:
    """A processor of 64 bits runs the 32-bit code of its family, too."""
    return is_native(arch) or (arch, platform.machine()) == ("i686", "x86_64")


class EdgeLite:
    """The binary of an architecture, under the emulator of a machine that is another."""

    def __init__(self, arch: str, features: str = ",".join(board_image.FEATURES)) -> None:
        settings = board_image.load_board("edge_lite")["image"]["architectures"][arch]
        self.image = board_image.build("edge_lite", arch, features)
        self.start = [str(self.image.path)]
        self.native = runs_here(arch)
        if not self.native:
            emulator = shlex.split(settings["emulator"])
            self.start = [toolchain.need(emulator[0], "qemu-user-static"), *emulator[1:], *self.start]


@pytest.fixture(scope="session")
def edge_lite() -> Callable[..., EdgeLite]:
    made: dict[tuple[str, ...], EdgeLite] = {}

    def make(*words: str) -> EdgeLite:
        try:
            if words not in made:
                made[words] = EdgeLite(*words)
        except toolchain.Missing as missing:
            pytest.skip(str(missing))
        return made[words]

    return make


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def configured(folder: Path, port: int, **more: Any) -> Path:
    given = json.loads((ROOT / "boards" / "edge_lite" / "edge.json").read_text())
    given.update({"cloud_endpoint": "mqtt://127.0.0.1:%d" % port, "data_dir": "data", "sync_topics": ["logs"]})
    given.update({"sync": {"retry": {"initial_ms": 50, "max_ms": 400}}, **more})
    path = folder / "edge.json"
    path.write_text(json.dumps(given))
    return path


def records(count: int, first: int = 0) -> list[bytes]:
    return [(b'{"n": %d, "text": "' % n).ljust(RECORD_BYTES - 2, b"x") + b'"}' for n in range(first, first + count)]


def cli(config: Path, *words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", "--config", str(config), *words]
    return subprocess.run(command, env=ENVIRONMENT, input=stdin, capture_output=True, timeout=300, check=False)


def resident_kb(pid: int) -> int:
    """The most that it had in memory so far."""
    lines = Path("/proc/%d/status" % pid).read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_syncs_what_the_command_line_hands_it(
    arch: str,
    edge_lite: Callable[..., EdgeLite],
    mosquitto: Mosquitto,
    tmp_path: Path,
    running: list[subprocess.Popen[bytes]],
    record_property: Callable[[str, object], None],
) -> None:
    lite, config, store, count = edge_lite(arch), configured(tmp_path, mosquitto.port), tmp_path / "cloud.db", ARCHITECTURES[arch]
    running.append(serve(mosquitto.port, store))
    process = subprocess.Popen([*lite.start, "--config", str(config)], cwd=tmp_path, env={"PATH": os.environ["PATH"]})
    running.append(process)
    until(lambda: cli(config, "status").returncode == 0)
    values = records(count)
    began = time.monotonic()
    produced = cli(config, "produce", "logs", "--producer", "test", stdin=b"\n".join(values) + b"\n")
    assert produced.returncode == 0, produced.stderr
    until(lambda: len(stored(store)) == count, 300)
    took = time.monotonic() - began
    assert stored(store) == values
    until(lambda: json.loads(cli(config, "ledger", "--json").stdout)[0]["pending"] == 0)
    image_bytes, emulated = lite.image.path.stat().st_size, ("", "") if lite.native else (", emulated", " with the emulator")
    record_property(
        "figure",
        "edge_lite for %s: %d bytes; %d records in %.1f s (%.0f a second%s); %d KB resident at the most%s"
        % (arch, image_bytes, count, took, count / took, emulated[0], resident_kb(process.pid), emulated[1]),
    )
    assert image_bytes <= IMAGE_BYTES_MAX
    assert_told("| `%s` |" % arch, image_bytes)
    if lite.native:
        assert resident_kb(process.pid) <= RSS_KB_MAX
    process.terminate()
    assert process.wait(60) == 0, "SIGTERM ends it in order"


def test_it_needs_nothing_of_the_system_that_it_runs_on(
    edge_lite: Callable[..., EdgeLite], mosquitto: Mosquitto, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may change the root folder")
    arch = next((name for name in ARCHITECTURES if is_native(name)), None)
    if arch is None:
        pytest.skip("there is no edge-lite for %s" % platform.machine())
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(edge_lite(arch).image.path, root / "streamline-edge-lite")
    (root / "etc").mkdir()
    (root / "etc" / "hosts").write_text("127.0.0.1 broker.example\n")
    config = configured(root, mosquitto.port, cloud_endpoint="mqtt://broker.example:%d" % mosquitto.port)
    (root / "dev").mkdir()
    store = tmp_path / "cloud.db"
    running.append(serve(mosquitto.port, store))
    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin") or "chroot"
    process = subprocess.Popen([chroot, str(root), "/streamline-edge-lite", "--config", "/edge.json"], env={})
    running.append(process)
    assert config.exists()
    until(lambda: cli(config, "status").returncode == 0)
    assert cli(config, "produce", "logs", stdin=b"from a folder with nothing in it\n").returncode == 0
    until(lambda: stored(store) == [b"from a folder with nothing in it"])


def is_native(arch: str) -> bool:
    return platform.machine() in board_image.load_board("edge_lite")["image"]["architectures"][arch]["machines"]


def test_without_edge_sync_it_is_a_local_log_and_refuses_a_cloud_by_name(edge_lite: Callable[..., EdgeLite], tmp_path: Path) -> None:
    native = next((name for name in ARCHITECTURES if is_native(name)), "x86_64")
    small, whole = edge_lite(native, "edge-lite"), edge_lite(native)
    assert small.image.path.stat().st_size < whole.image.path.stat().st_size
    config = configured(tmp_path, 1883)
    refused = subprocess.run([*small.start, "--config", str(config)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2 and "edge-sync" in refused.stderr and "cloud_endpoint" in refused.stderr, refused.stderr
    config = configured(tmp_path, 1883, cloud_endpoint=None)
    process = subprocess.Popen([*small.start, "--config", str(config)], cwd=tmp_path)
    try:
        until(lambda: cli(config, "status").returncode == 0)
        assert cli(config, "produce", "logs", stdin=b"one\ntwo\n").returncode == 0
        assert cli(config, "consume", "logs").stdout.splitlines() == [b"one", b"two"]
        assert json.loads(cli(config, "status", "--json").stdout)["state"] == "local"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order_whenever_it_comes(number: int, edge_lite: Callable[..., EdgeLite], tmp_path: Path, seed: int) -> None:
    lite, rng = edge_lite(next((name for name in ARCHITECTURES if is_native(name)), "x86_64")), random.Random(seed)
    config = configured(tmp_path, 1, log={"segment_bytes": 524288, "commit_interval_ms": 10})
    for _ in range(20):
        process = subprocess.Popen(
            [*lite.start, "--config", str(config), "--lines", "logs"], cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # whoever runs the tests under nohup ignores SIGHUP, and so would it
        )  # fmt: skip
        assert process.stdin is not None and process.stderr is not None
        until(lambda: cli(config, "status").returncode == 0)
        process.stdin.write(b"a line that makes garbage\n" * 2000)
        process.stdin.flush()
        time.sleep(rng.random() / 5)
        process.send_signal(number)
        assert process.wait(60) == 0, process.stderr.read()


def test_under_nohup_a_terminal_that_is_closed_ends_nothing(edge_lite: Callable[..., EdgeLite], tmp_path: Path) -> None:
    lite = edge_lite(next((name for name in ARCHITECTURES if is_native(name)), "x86_64"))
    config = configured(tmp_path, 1)
    process = subprocess.Popen(
        [*lite.start, "--config", str(config), "--lines", "logs"], cwd=tmp_path, stdin=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    until(lambda: cli(config, "status").returncode == 0)
    process.send_signal(signal.SIGHUP)
    assert cli(config, "status").returncode == 0
    process.terminate()
    assert process.wait(60) == 0


def test_what_lies_in_the_folder_that_it_is_started_in_is_not_run(edge_lite: Callable[..., EdgeLite], tmp_path: Path) -> None:
    lite = edge_lite(next((name for name in ARCHITECTURES if is_native(name)), "x86_64"))
    for name in ("streamline_board", "streamline_core", "cbor2", "ujson", "errno"):
        (tmp_path / name).mkdir()
        for file in ("__init__.py", "__main__.py", "main.py"):
            (tmp_path / name / file).write_text("print('OWNED')\n")
    config = configured(tmp_path, 1883, cloud_endpoint=None)
    for environment in ({}, {"MICROPYPATH": str(tmp_path)}):
        for words in (("--version",), ("--config", str(config), "--lines", "logs")):
            command = [*lite.start, *words]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
            assert done.returncode == 0 and b"OWNED" not in done.stdout + done.stderr, done


def test_its_options_are_told_and_a_wrong_one_is_named(edge_lite: Callable[..., EdgeLite], tmp_path: Path) -> None:
    lite = edge_lite("x86_64" if platform.machine() == "x86_64" else "arm64")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*lite.start, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    assert "--config" in run("--help").stdout and run("--help").returncode == 0
    assert run("--version").stdout.startswith("streamline-edge-lite ")
    assert run("--repl", "-c", "print(6 * 7)").stdout == "42\n"
    for words in (("--bogus",), (), ("--config", "absent.json"), ("--heap",), ("--heap", "1k")):
        assert run(*words).returncode == 2 and run(*words).stderr, words


def test_a_build_beyond_its_budget_fails_and_leaves_no_image(
    edge_lite: Callable[..., EdgeLite], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    native = next((name for name in ARCHITECTURES if is_native(name)), "x86_64")
    path, size = edge_lite(native, "edge-lite").image.path, edge_lite(native, "edge-lite").image.path.stat().st_size
    board = board_image.load_board("edge_lite")
    board["image"]["budget_bytes"] = size - 1
    monkeypatch.setattr(board_image, "load_board", lambda name: board)
    monkeypatch.setattr(sys, "argv", ["board_image.py", "edge_lite", "--arch", native, "--features", "edge-lite"])
    assert board_image.main() == 1
    assert "1 more than its budget" in capsys.readouterr().err and not path.exists()
    board["image"]["budget_bytes"] = size
    assert board_image.main() == 0 and path.exists()
