"""What a benchmark runs against: a mosquitto and a bridge, real processes over a folder on a real disk.

Rule: everything it starts it ends, by process id, and its folder goes with it, also after Ctrl-C. Must not know: what
is measured.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from free_ports import free_port

ROOT = Path(__file__).resolve().parent.parent
START_SECS = 15
STOP_SECS = 10
MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")


class World:
    """One folder, one broker, one bridge. `with World() as world`. Raises RuntimeError where one does not start."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="streamline-bench-", dir=disk_folder()))
        self.port = free_port()
        self.url = "mqtt://127.0.0.1:%d" % self.port
        self.store = self.folder / "cloud.db"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *exception: object) -> None:
        for process in reversed(self._processes):
            end(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_broker(self) -> None:
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if program is None:
            raise RuntimeError("mosquitto is not installed (package mosquitto)")
        config = self.folder / "mosquitto.conf"
        lines = ["listener %d 127.0.0.1" % self.port, "allow_anonymous true", "persistence false", "set_tcp_nodelay true"]
        if os.geteuid() == 0:
            lines.append("user root")  # or it changes to a user who cannot read the folder
        config.write_text("\n".join([*lines, "log_dest stdout"]) + "\n")
        process = self.start([program, "-c", str(config)], self.folder / "mosquitto.log")
        deadline = time.monotonic() + START_SECS
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        log = (self.folder / "mosquitto.log").read_text()
        raise RuntimeError("mosquitto did not start on port %d: %s" % (self.port, log))

    def start_bridge(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "streamline_cloud", "serve", "--broker", self.url, "--store", "sqlite:///%s" % self.store]
        log = self.folder / "bridge.log"
        process = self.start(command, log)
        deadline = time.monotonic() + START_SECS
        while b"connected to" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the bridge did not start:\n" + log.read_text())
            time.sleep(0.02)
        return process

    def start(self, command: list[str], log: Path, environment: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
        """A process that ends with this world; what it prints goes to `log`."""
        paths = {"PYTHONPATH": os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")])}
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | paths | (environment or {}),
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._processes.append(process)
        return process


def end(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, then SIGKILL; does nothing to one that has ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def disk_folder() -> str:
    """Where temporary files may go that is a disk: a sync in memory measures nothing."""
    for folder in (tempfile.gettempdir(), "/var/tmp", str(ROOT / "build")):
        if file_system(folder) not in MEMORY_FILE_SYSTEMS and os.access(folder, os.W_OK):
            return folder
    return tempfile.gettempdir()


def file_system(folder: str) -> str:
    """Its type by /proc/mounts, "" where that is not known."""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    mounts = [line.split()[1:3] for line in lines]
    real = os.path.realpath(folder)
    inside = [(mount, kind) for mount, kind in mounts if mount == "/" or real == mount or real.startswith(mount + "/")]
    return max(inside, key=lambda pair: len(pair[0]))[1] if inside else ""
