"""A real mosquitto on a port of its own, which a test may stop, kill and start again."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from free_ports import free_port

START_TIMEOUT_S = 40
STOP_TIMEOUT_S = 40
MISSING = "mosquitto is not installed (package mosquitto)"


def find_mosquitto() -> str | None:
    """The program; Debian puts it where a user's PATH does not lead."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Mosquitto:
    """One broker: anonymous, remembers nothing across a restart, keeps its port for life.

    folder: where its configuration and log go. options: further lines of mosquitto.conf.
    """

    def __init__(self, folder: Path, port: int | None = None, options: Sequence[str] = ()) -> None:
        self.host = "127.0.0.1"
        self.port = port or free_port()
        self.log = folder / ("mosquitto-%d.log" % self.port)
        self._config = folder / ("mosquitto-%d.conf" % self.port)
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            "listener %d %s" % (self.port, self.host),
            "allow_anonymous true",
            "persistence false",
            "max_queued_messages 0",  # it keeps what an agent that was killed has not acknowledged, however much that is
            "set_tcp_nodelay true",
            "log_dest file %s" % self.log,
            "log_timestamp_format %H:%M:%S",
            *options,
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # or it changes to a user who cannot write the log
        self._config.write_text("\n".join(lines) + "\n")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Return once it accepts connections. Raises RuntimeError, with its log, if it does not."""
        program = find_mosquitto()
        if program is None:
            raise RuntimeError(MISSING)
        if self.running:
            return
        self._process = subprocess.Popen([program, "-c", str(self._config)], stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.running and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((self.host, self.port)) == 0:
                    return
            time.sleep(0.01)
        self.kill()
        log = self.log.read_text() if self.log.exists() else "no log"
        raise RuntimeError("mosquitto did not start on port %d: %s" % (self.port, log))

    def stop(self) -> None:
        """End it the polite way; it says goodbye to its clients."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, signal_number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_S)
