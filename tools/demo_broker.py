"""A broker as a process of its own, which a demo may stop and start again: mosquitto where it is installed, else the embedded one.

Rule: it keeps its port for life, so that whoever connected finds it again; it remembers nothing over a stop, and nothing depends on its
memory. Must not know: who connects.

Usage: python tools/demo_broker.py PORT (the embedded one, until SIGTERM)
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from free_ports import free_port

ROOT = Path(__file__).resolve().parent.parent
START_SECS = 15
STOP_SECS = 8


def find_mosquitto() -> str | None:
    """Debian puts it where a user's PATH does not lead."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Broker:
    """folder: where its configuration and log go. Raises RuntimeError (start) where it does not come up."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = "mqtt://127.0.0.1:%d" % self.port
        program = find_mosquitto()
        self.kind = "mosquitto" if program else "the embedded broker"
        self._log = folder / "broker.log"
        self._command = [program or sys.executable]
        if program:
            config = folder / "mosquitto.conf"
            user = "user root\n" if os.geteuid() == 0 else ""  # or it changes to a user who cannot read the folder
            lines = "listener %d 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n%s"
            config.write_text(lines % (self.port, user))
            self._command += ["-c", str(config)]
        else:
            self._command += [str(Path(__file__).resolve()), str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it accepts connections."""
        paths = os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")])
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C is for the demo, which ends it in order.
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": paths},
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECS
        while self._process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError("the broker did not start on port %d: %s" % (self.port, self._log.read_text(errors="replace").strip()))

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _serve(port: int) -> None:
    from streamline_host.embedded_broker import EmbeddedBroker

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    broker = EmbeddedBroker("127.0.0.1", port)
    await broker.start()
    await ended.wait()
    await broker.stop()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
