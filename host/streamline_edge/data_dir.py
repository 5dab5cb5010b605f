"""The folder of one agent: private to its user, and to one process at a time.

Rule: whoever holds the lock may write below the folder; a second agent is refused by name. Knows nothing of logs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from pathlib import Path

from streamline_core.control_wire import SOCKET_NAME
from streamline_core.errors import UsageError
from streamline_core.operator_limits import LIMITS_NAME

LOCK_NAME = "lock"
OWN_NAMES = (LOCK_NAME, SOCKET_NAME, LIMITS_NAME, LIMITS_NAME.replace(".json", ".new"))


class DataDirLock:
    """Holds `path` (created with mode 700) until `release`.

    Raises: UsageError where another process holds it, or it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._name: socket.socket | None = None
        try:
            existed = self.path.is_dir()
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A folder with other things in it is somebody else's: its mode is left alone.
            if existed and (not any(self.path.iterdir()) or (self.path / LOCK_NAME).exists()):
                self.path.chmod(0o700)
            self._fd = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise self._unusable(e) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise UsageError(f"data directory {self.path} is in use by process {pid}; stop it, or choose another with --data-dir") from None
        try:
            self._name = _name_of(self.path)
        except OSError:
            self.release()
            raise UsageError(
                f"data directory {self.path} is in use by a streamline-edge-lite; stop that, or choose another with --data-dir"
            ) from None
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except OSError as e:  # such as a full disk
            self.release()
            raise self._unusable(e) from None

    def _unusable(self, error: OSError) -> UsageError:
        what = "make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
        return UsageError(f"data directory {self.path}: {error.strerror}; {what}, or choose another with data_dir or --data-dir")

    def release(self) -> None:
        """Let the next process in. The file stays: removing it would let two processes hold two locks."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._name is not None:
            self._name.close()
            self._name = None


def _name_of(path: Path) -> socket.socket | None:
    """Takes the name by which an edge under MicroPython, which has no flock, holds a folder: an abstract Unix socket (unix(7)), which goes
    with its process. None where there are none. Raises: OSError where somebody has it."""
    if sys.platform != "linux":
        return None
    stat = path.stat()
    name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        name.bind(b"\0streamline-%x-%x" % (stat.st_dev & 0xFFFFFFFF, stat.st_ino & 0xFFFFFFFF))
    except OSError as error:
        name.close()
        if error.errno == errno.EADDRINUSE:
            raise
        return None
    return name
