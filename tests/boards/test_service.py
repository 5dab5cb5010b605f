"""The service: its unit is sound, well confined and has what the agent needs; the agent tells its manager how it is."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "host"))
from agent_process import ENVIRONMENT
from streamline_edge.systemd_notify import Notifier

SYSTEMD = ROOT / "boards" / "systemd"
UNIT, LITE = SYSTEMD / "streamline-edge.service", SYSTEMD / "streamline-edge-lite.service"
NEWER_THAN_SOME = ("RestartSteps", "RestartMaxDelaySec")  # systemd 254


@pytest.mark.parametrize("unit", [UNIT, LITE], ids=lambda unit: unit.stem)
def test_the_unit_is_sound_and_well_confined(unit: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (package systemd)")
    done = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False)
    expected = (
        "is not executable",
        *("Unknown key '%s'" % key for key in NEWER_THAN_SOME),
        *("Unknown key name '%s'" % key for key in NEWER_THAN_SOME),
    )
    complaints = [line for line in done.stderr.splitlines() if unit.name in line and not any(text in line for text in expected)]
    assert not complaints, complaints
    done = subprocess.run([program, "security", "--offline=true", str(unit)], capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    if found is not None:  # older ones know no --offline
        assert float(found[1]) <= 1.5, done.stdout


def test_each_kind_of_restart_and_reload_is_there() -> None:
    text = UNIT.read_text()
    for line in ("Type=notify", "Restart=always", "ExecReload=/bin/kill -HUP $MAINPID", "UMask=0077", "StartLimitIntervalSec=0"):
        assert line + "\n" in text, line


class Manager:
    """The end of a service manager: a datagram socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(15)

    def hear(self) -> str:
        return self.socket.recv(200).decode()

    def hear_but_alive(self) -> str:
        while (said := self.hear()) == "WATCHDOG=1":
            pass
        return said

    def silent(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(200)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(15)
        return False


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    it = Manager(str(tmp_path / "notify"))
    yield it
    it.socket.close()


@pytest.fixture
def agent(manager: Manager, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    (tmp_path / "edge.yaml").write_text("node_id: n1\ndata_dir: d\n")
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    command = [sys.executable, "-m", "streamline_edge", "--config", str(tmp_path / "edge.yaml")]
    process = subprocess.Popen(command, env={**ENVIRONMENT, **told}, stderr=subprocess.DEVNULL)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


def test_the_manager_hears_that_it_is_ready_alive_and_stopping(manager: Manager, agent: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    assert manager.hear() == "READY=1"
    assert (tmp_path / "d" / "control.sock").exists(), "ready is who can be asked"
    assert [manager.hear() for _ in range(5)] == ["WATCHDOG=1"] * 5
    agent.send_signal(signal.SIGSTOP)  # a loop that does not turn
    time.sleep(0.3)
    while not manager.silent():
        pass
    time.sleep(0.5)
    assert manager.silent()
    agent.send_signal(signal.SIGCONT)
    agent.terminate()
    assert manager.hear_but_alive() == "STOPPING=1"
    assert agent.wait(15) == 0 and manager.silent()


def test_the_manager_hears_of_a_reload_be_it_refused(manager: Manager, agent: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    assert manager.hear_but_alive() == "READY=1"
    for text in ("node_id: n1\ndata_dir: d\nsync: {interval_secs: 9}\n", "nonsense: 1\n"):
        (tmp_path / "edge.yaml").write_text(text)
        before_us = time.monotonic_ns() // 1000
        agent.send_signal(signal.SIGHUP)
        first, second = manager.hear_but_alive().split("\n")
        assert first == "RELOADING=1" and int(second.removeprefix("MONOTONIC_USEC=")) >= before_us
        assert manager.hear_but_alive() == "READY=1"
    agent.terminate()
    assert manager.hear_but_alive() == "STOPPING=1"


class Loop:
    """Of asyncio's only what is asked of it."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def call_later(self, secs: float, *_: object) -> "Loop":
        self.waits.append(secs)
        return self

    def cancel(self) -> None:
        self.waits.append(-1)


def test_alive_is_said_at_half_the_time_and_only_to_who_asks_this_process() -> None:
    address = "\0streamline-test-%d" % os.getpid()
    manager = Manager(address)
    told = {"NOTIFY_SOCKET": "@" + address[1:], "WATCHDOG_USEC": "60000000"}
    for pid, waits in (("", [30.0, -1]), (str(os.getpid()), [30.0, -1]), ("1", [])):
        loop = Loop()
        notifier = Notifier({**told, "WATCHDOG_PID": pid})
        notifier.ready(loop)  # type: ignore[arg-type]
        assert manager.hear() == "READY=1"
        if waits:
            assert manager.hear() == "WATCHDOG=1"
        notifier.stopping()
        assert manager.hear() == "STOPPING=1" and loop.waits == waits, pid
    manager.socket.close()


def test_no_manager_and_one_that_does_not_read_are_no_error(manager: Manager, tmp_path: Path) -> None:
    for environment in ({}, {"WATCHDOG_USEC": "1000"}, {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "x"}):
        loop = Loop()
        Notifier(environment).ready(loop)  # type: ignore[arg-type]
        assert loop.waits == []
    full = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"})
    begin = time.monotonic()
    for _ in range(2000):  # more than its queue holds
        full._alive(Loop())  # type: ignore[arg-type]
    assert time.monotonic() - begin < 5, "alive is never waited for"


def test_a_log_that_is_appended_to_is_rotated_under_a_running_agent(manager: Manager, tmp_path: Path) -> None:
    program = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
    if program is None:
        pytest.skip("logrotate is not installed")
    text = (SYSTEMD / "logrotate.conf").read_text()
    log = tmp_path / "agent.log"
    rotation = tmp_path / "logrotate.conf"
    rotation.write_text(text.replace("/var/log/streamline-edge.log", str(log)))
    rotation.chmod(0o644)
    (tmp_path / "edge.yaml").write_text("node_id: n1\ndata_dir: d\n")
    started = "%s -m streamline_edge --config %s 2>>%s" % (sys.executable, tmp_path / "edge.yaml", log)
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    process = subprocess.Popen(["sh", "-c", "exec " + started], env={**ENVIRONMENT, **told})
    try:
        assert manager.hear() == "READY=1"
        done = subprocess.run(
            [program, "--force", "--state", str(tmp_path / "state"), str(rotation)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert "data in" in (tmp_path / "agent.log.1").read_text() and log.stat().st_size == 0
        process.send_signal(signal.SIGHUP)
        assert manager.hear().startswith("RELOADING=1") and manager.hear() == "READY=1"
        assert log.read_bytes().count(b"\0") == 0 and "nothing has changed" in log.read_text()
        process.terminate()
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
