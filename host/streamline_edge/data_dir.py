"""The folder of one agent: private to its user, and to one process at a time.

Rule: whoever holds the lock may write below the folder; a second agent is refused by name. Knows nothing of logs.
"""

from __future__ import annotations

import errno
import fcntl
import os
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
