"""A board in its emulator: its flash in a file, its console and its lines as TCP ports of the loopback interface. What commands the
emulator itself (QMP) is a socket that only this user can open.

Rule: `kill` is a power cut (what was programmed stays, nothing else does), `reset` is the reset pin; the process ends with this object.
Must not know: what the image does.
"""

import json
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from free_ports import free_port

START_SECS = 20
ERASED = b"\xff"
SOCKET_PATH_BYTES_MAX = 107  # of Linux


def _in_option(path: Path) -> str:
    """As QEMU takes a path among the values of an option."""
    return str(path).replace(",", ",,")


class Emulator:
    """board: its board.json; image: the file to run; folder: where its flash lies. It is off until `start`.

    line_port: of the second UART, where a gateway's `serial:` link connects (socket://127.0.0.1:PORT); line_to: in its place, a port that
    the emulator connects to. console_port: of the first UART.
    """

    def __init__(
        self, board: dict[str, Any], image: Path, folder: Path, line_port: int | None = None, line_to: int | None = None
    ) -> None:
        self.flash = folder / "flash.bin"
        self.line_port = line_port or free_port()
        self._line = "server=on,wait=off" if line_to is None else "reconnect=1"
        self._line_at = line_to or self.line_port
        self.console_port = free_port()
        self._qmp = folder.resolve() / "qmp"
        self._short: str | None = None
        self._machine = board["emulator"]["machine"]
        self._flash_bytes = board["emulator"]["flash_bytes"]
        self._image = image
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def command(self, console: str) -> list[str]:
        """Of the emulator. console: a character device for the first UART, in QEMU's words."""
        return shlex.split(
            "qemu-system-arm -nographic -monitor none -semihosting -machine %s,memory-backend=flash"
            " -object memory-backend-file,id=flash,size=%d,share=on,mem-path=%s"
            " -serial %s -serial tcp:127.0.0.1:%d,%s,nodelay=on -kernel %s"
            % (
                self._machine, self._flash_bytes, shlex.quote(_in_option(self.flash)), console, self._line_at, self._line,
                shlex.quote(str(self._image)),
            )
        )  # fmt: skip

    def _command_socket(self) -> str:
        """In QEMU's words. It lies beside the flash, or, where its path would be too long for a socket, in a folder of its own."""
        if len(os.fsencode(self._qmp)) > SOCKET_PATH_BYTES_MAX:
            self._short = tempfile.mkdtemp(prefix="streamline-")
            self._qmp = Path(self._short, "qmp")
        self._qmp.unlink(missing_ok=True)
        return "unix:%s,server=on,wait=off" % _in_option(self._qmp)

    def new_flash(self) -> None:
        """A flash as it leaves the factory, where there is none yet."""
        if not self.flash.exists():
            with self.flash.open("wb") as file:
                for _ in range(self._flash_bytes // (1 << 20)):
                    file.write(ERASED * (1 << 20))

    def start(self) -> None:
        """Power on; returns when its ports are open. Raises RuntimeError where the emulator does not start."""
        self.new_flash()
        console = "tcp:127.0.0.1:%d,server=on,wait=off,nodelay=on,logfile=%s,logappend=on" % (
            self.console_port, shlex.quote(_in_option(self.flash.with_name("console.log"))),
        )  # fmt: skip
        errors = self.flash.with_name("emulator.log")
        with errors.open("wb") as log:
            command = [*self.command(console), "-qmp", self._command_socket()]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, umask=0o077)
        deadline = time.monotonic() + START_SECS
        while self.running and time.monotonic() < deadline:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self._qmp)) == 0:
                    return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError("the emulator did not start: %s" % errors.read_text().strip())

    @property
    def console(self) -> str:
        """All that it has printed, over all its lives."""
        log = self.flash.with_name("console.log")
        return log.read_text(errors="replace") if log.exists() else ""

    def reset(self) -> None:
        """The reset pin."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_SECS)
            connection.connect(str(self._qmp))
            replies = connection.makefile("rb")
            replies.readline()
            for word in ("qmp_capabilities", "system_reset"):
                connection.sendall(json.dumps({"execute": word}).encode() + b"\n")
                while b"return" not in replies.readline():
                    pass

    def kill(self) -> None:
        """The power goes."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        self._qmp.unlink(missing_ok=True)
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)
            self._short, self._qmp = None, self.flash.resolve().with_name("qmp")
