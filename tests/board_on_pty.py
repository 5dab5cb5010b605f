"""A stand-in for a board at a serial port: the unix MicroPython with its prompt on a pseudo terminal. A helper of tests, no test.

What is real: the interpreter, its raw REPL, Ctrl-C, littlefs at the root with its blocks in a file, the board's own start and program, its
raw flash (in a file). What is not: a chip. A reset ends the process, and it is started again on the same terminal; it knows a reset from
power that came. A stock one is MicroPython as it comes: nothing of ours but what is put into its /lib, no flash set apart, /main.py run.
"""

import fcntl
import os
import pty
import select
import subprocess
import termios
import threading
import tty
from pathlib import Path

import pytest

import mpy
from board_process import module_path

# Of PyPI's unix interpreter: Ctrl-C is raised at once there, and one that comes amid a collection ends it or leaves it deaf. Boards and
# edge-lite take it up between two bytecodes; tests/images does the same with a board that does.
FALLS = pytest.mark.flaky(reruns=3)

FILES_BYTES, LOG_BYTES, BLOCK_BYTES = 256 << 10, 1 << 20, 4096

START = """
import os, sys, vfs

class Machine:
    PWRON_RESET, HARD_RESET = 1, 2
    @staticmethod
    def reset():
        os.system("kill -9 $PPID")
    @staticmethod
    def reset_cause():
        return 1 if os.getenv("CAUSE") == "power" else 2

sys.modules["machine"] = Machine

class Flash:
    def __init__(self, path, blocks):
        self.file, self.blocks = open(path, "r+b"), blocks
    def readblocks(self, block, buf, offset=0):
        self.file.seek(block * {block} + offset)
        self.file.readinto(buf)
    def writeblocks(self, block, buf, offset=0):
        there = bytearray(len(buf))
        self.readblocks(block, there, offset)
        for i in range(len(buf)):
            there[i] &= buf[i]  # programming a NOR flash only clears bits
        self.file.seek(block * {block} + offset)
        self.file.write(there)
        self.file.flush()
    def ioctl(self, op, arg):
        if op == 4:
            return self.blocks
        if op == 5:
            return {block}
        if op == 6:
            self.file.seek(arg * {block})
            self.file.write(b"\\xff" * {block})
        return 0

files, log = Flash({files!r}, {files_blocks}), Flash({log!r}, {log_blocks})
vfs.umount("/")
"""
OURS = """
vfs.mount(vfs.VfsPosix({modules!r}), "/modules")
sys.path[:] = [".frozen", "/lib", "/modules"]  # /lib is of the board itself
from streamline_board import boot
boot.boot(files, log)
vfs.mount(vfs.VfsPosix("/proc"), "/proc")
from streamline_board.sources import ProcSource

class App:
    Source = ProcSource

sys.modules["app"] = App
from streamline_board import board_main
board_main.run(watchdog_ms=0)
"""
STOCK = """
try:
    vfs.mount(vfs.VfsLfs2(files), "/")
except OSError:
    vfs.VfsLfs2.mkfs(files)
    vfs.mount(vfs.VfsLfs2(files), "/")
sys.path[:] = ["", ".frozen", "/lib"]
if "main.py" in os.listdir("/"):
    with open("/main.py") as file:
        text = file.read()
    exec(text, {"__name__": "__main__"})
"""


class PtyBoard:
    """folder: where its flash is. port: the terminal, for whoever takes it for a serial port. stock: MicroPython as it comes. modules:
    where ours are, if not all of them are to be there. Use with `with`. console: what it has said, over all its lives."""

    def __init__(
        self, folder: Path, heap: str = "512k", files_bytes: int = FILES_BYTES, stock: bool = False, modules: Path | None = None
    ) -> None:
        files, log, boot = folder / "files.bin", folder / "log.bin", folder / "boot.py"
        for path, size in ((files, files_bytes), (log, LOG_BYTES)):
            path.write_bytes(b"\xff" * size)
        ours = str(modules or module_path().rpartition(":")[2])
        values = {"block": BLOCK_BYTES, "files": str(files), "files_blocks": files_bytes // BLOCK_BYTES, "modules": ours}
        text = START + (STOCK if stock else OURS)
        for key, value in (values | {"log": str(log), "log_blocks": LOG_BYTES // BLOCK_BYTES}).items():
            text = text.replace("{%s!r}" % key, repr(value)).replace("{%s}" % key, str(value))
        boot.write_text(text)
        program = mpy.find_micropython()
        assert program is not None
        self._command = [program, "-X", "heapsize=" + heap, "-i", str(boot)]
        self._master, self._slave = pty.openpty()
        settings = termios.tcgetattr(self._slave)
        settings[1] &= ~termios.OPOST
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(self._slave, termios.TCSANOW, settings)
        self._near, far = pty.openpty()  # a second one, since whoever opens the port must not read what the board is to read
        tty.setraw(far)
        self._far, self.port = far, os.ttyname(far)
        self.starts = 0
        self._cause = "power"
        self._said = b""
        self._lock = threading.Lock()
        self._ended = False

    def _own_the_terminal(self) -> None:
        """So that Ctrl-C on it interrupts."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def _live(self) -> None:
        while True:
            with self._lock:
                if self._ended:
                    return
                self.starts += 1
                self._process = subprocess.Popen(
                    self._command, stdin=self._slave, stdout=self._slave, stderr=self._slave,
                    start_new_session=True, preexec_fn=self._own_the_terminal, env={"TERM": "dumb", "CAUSE": self._cause},
                )  # fmt: skip
                self._cause = "reset"
            self._process.wait()

    def _carry(self) -> None:
        """Bytes both ways, as a cable does."""
        other = {self._master: self._near, self._near: self._master}
        while not self._ended:
            for end in select.select(list(other), [], [], 0.1)[0]:
                data = os.read(end, 1024)
                self._said += data if end == self._master else b""
                os.write(other[end], data)

    @property
    def console(self) -> str:
        return self._said.decode(errors="replace")

    def cut_power(self) -> None:
        with self._lock:
            self._cause = "power"
            self._process.kill()

    def __enter__(self) -> "PtyBoard":
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._live, self._carry)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended = True
            self._process.kill()
        for thread in self._threads:
            thread.join(10)
        for end in (self._master, self._slave, self._near, self._far):
            os.close(end)
