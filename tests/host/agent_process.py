"""An agent as a process of its own, which a test may kill, and the command line beside it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

START_SECS = 60
_PATHS = os.pathsep.join(str(Path(__file__).parents[2] / name) for name in ("shared", "host"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": _PATHS, "PYTHONUNBUFFERED": "1"}


class AgentProcess:
    """`python -m streamline_edge` with the configuration `text` (edge.yaml) in `folder`, and with `variables` of its own."""

    def __init__(self, folder: Path, text: str, **variables: str) -> None:
        self.folder = folder
        self.config = folder / "edge.yaml"
        self.data_dir = folder / "d"
        self.config.write_text(text + "\ndata_dir: d\n")
        self.log = folder / "agent.log"
        self.environment = {**ENVIRONMENT, **variables}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "streamline_edge", "--config", str(self.config)]
            self.process = subprocess.Popen(command, env=self.environment, stderr=log, stdout=log)
        deadline = time.monotonic() + START_SECS
        while self.cli("status").returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the agent did not start:\n" + self.log.read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(START_SECS)

    def command(self, *arguments: str) -> list[str]:
        start = [sys.executable, "-m", "streamline_edge.cli", "edge", "--data-dir", str(self.data_dir)]
        return [*start, *arguments]

    def cli(self, *arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(self.command(*arguments), env=ENVIRONMENT, input=stdin, capture_output=True, timeout=60)
