"""One file that is written to: what was queued for it, what is on its way to the disk, and the writing itself.

Rule: a write error poisons a file that is appended to: what was queued is dropped and each further ticket reports the error. A full disk,
or no descriptor left, is an error that can pass. After any other the kernel may have dropped pages that it calls clean, so that no later
fsync can be believed: that poison stays until the file is removed or the agent restarts. Must not know: threads, locks, when it is written.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from streamline_core.errors import StorageFull

from .posix_files import fsync_folder, open_for_append, write_all

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_FILE = (errno.EMFILE, errno.ENFILE)  # only opening says so: another time it may succeed


class Job:
    """What one ticket stands for: chunks to append, or (replace) the whole new content."""

    def __init__(self, ticket: int, chunks: Sequence[bytes], replace: bool) -> None:
        self.ticket, self.chunks, self.replace = ticket, chunks, replace


class WrittenFile:
    """path: where it lies; size: in bytes, what is queued included. Who uses it says what of it belongs to which thread."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.queued: list[bytes] = []
        self.unreported: deque[Job] = deque()  # what may not be on the disk yet, and was submitted
        self.jobs: deque[Job] = deque()
        self.running = False
        self.removed = False
        self.fd = -1
        self.error: Exception | None = None
        self.curable = False  # whether the error is over once it was reported
        self.created: list[Path] = []  # folders with a new name that is not durable yet
        self.pending_errors = 0  # tickets that failed and were not reported yet

    @property
    def idle(self) -> bool:
        return not (self.running or self.jobs or self.queued or self.error)

    def read_on_its_way(self, offset: int, view: memoryview) -> int:
        """What was appended and may not be on the disk yet, from `offset` of the file on; returns how many bytes."""
        if self.error is not None or any(job.replace for job in self.unreported):
            return 0
        chunks = [chunk for job in self.unreported for chunk in job.chunks] + self.queued
        at, done = self.size - sum(map(len, chunks)), 0
        if offset < at:
            return 0
        for chunk in chunks:
            begin = offset + done - at
            if begin < len(chunk) and done < len(view):
                piece = chunk[begin : begin + len(view) - done]
                view[done : done + len(piece)] = piece
                done += len(piece)
            at += len(chunk)
        return done

    def open(self) -> Exception | None:
        """Open or make it. Returns what went wrong: a ticket must always be answered, for a lost one is a hang."""
        try:
            self.fd = open_for_append(self.path, self.created)
        except Exception as error:
            return self._failed(error, curable=True)
        return None

    def write(self, jobs: Sequence[Job]) -> Exception | None:
        """Write all of it, and sync. It must be open. Returns what went wrong, as `open`."""
        curable = True
        try:
            for job in jobs:
                if job.replace:
                    os.ftruncate(self.fd, 0)
                write_all(self.fd, job.chunks)
            curable = False
            os.fsync(self.fd)
            while self.created:
                fsync_folder(self.created[-1])
                self.created.pop()
        except Exception as error:
            return self._failed(error, curable)
        return None

    def _failed(self, error: Exception, curable: bool) -> Exception:
        """curable: whether nothing that was synced can be in doubt."""
        if not isinstance(error, OSError):
            return error
        full = error.errno in _FULL
        self.curable = (full and curable) or error.errno in _NO_FILE
        if self.fd >= 0:
            self.size = os.fstat(self.fd).st_size
        elif self.curable:
            self.size = self.path.stat().st_size if self.path.exists() else 0
        return StorageFull(f"{self.path}: {error.strerror}") if full else error

    def unlink_same(self) -> None:
        """Remove what its own write may have made again after it was removed."""
        try:
            if os.stat(self.path).st_ino == os.fstat(self.fd).st_ino:
                os.unlink(self.path)
        except OSError:
            pass
