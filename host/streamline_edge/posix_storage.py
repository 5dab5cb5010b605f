"""The Storage port on a POSIX file system: writes and fsyncs happen on worker threads, never on the event loop.

Rule: a ticket is reported only after its bytes are on the disk, in the order of one file's tickets, and never from within the call that
drew it. A full disk is over when its last ticket has been reported: the core has seen it by then, and looks at what is left. Reads see what
was appended, be it on the disk or on its way there: a fork moves what is not synced. Of what replaces a file they see the disk. Knows
nothing of what the bytes mean.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from streamline_core.errors import UsageError

from .data_dir import OWN_NAMES, DataDirLock
from .written_file import Job, WrittenFile

if TYPE_CHECKING:
    import asyncio

    from streamline_core.ports import Buffer

WORKERS_MAX = 4
READ_FDS_MAX = 32
FREE_SECS = 1.0
FILES_MAX = 64  # files kept open for appending; idle ones beyond are closed

Synced = Callable[[int, Exception | None], None]


class PosixStorage:
    """Files below `root`, which it locks. `on_synced(ticket, error)` is called on `loop`.

    inline: no threads and no loop: sync and replace write at once, and `poll()` reports (for tools and tests). files_max: how many files
    are kept open for appending while nothing is written to them, and as many for reading.
    Raises: UsageError where another process holds the folder.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        on_synced: Synced | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        inline: bool = False,
        files_max: int | None = None,
    ) -> None:
        if not inline and loop is None:
            raise UsageError("PosixStorage needs an event loop, or inline=True")
        self.root = Path(root)
        self._dir_lock = DataDirLock(root)
        self.on_synced = on_synced
        self._loop = loop
        self._inline = inline
        self._set_files_max(files_max)
        self._files: OrderedDict[str, WrittenFile] = OrderedDict()
        self._open = 0  # of them, those with a descriptor
        self._read_fds: OrderedDict[str, int] = OrderedDict()
        self._ticket = 0
        self._free_bytes = 0
        self._free_until = 0.0
        self._lock = threading.Lock()  # guards WrittenFile.jobs, running, error, fd between the loop and the workers
        self._done: deque[tuple[int, Exception | None, WrittenFile]] = deque()
        self._workers = None if inline else ThreadPoolExecutor(WORKERS_MAX, "storage")

    # The port.

    def append(self, name: str, data: Buffer) -> None:
        """Queue `data` for the end of `name`; bytes are kept by reference, anything else is copied."""
        file = self._file(name)
        if file.error is None:
            file.queued.append(data if isinstance(data, bytes) else bytes(data))
            file.size += len(data)
            self._free_bytes -= len(data)

    def sync(self, name: str) -> int:
        file = self._file(name)
        chunks, file.queued = file.queued, []
        return self._submit(file, chunks, replace=False)

    def replace(self, name: str, data: Buffer) -> int:
        file = self._file(name)
        file.queued.clear()
        file.size = len(data)
        return self._submit(file, [bytes(data)], replace=True)

    def read_into(self, name: str, offset: int, buf: bytearray | memoryview) -> int:
        fd = self._read_fd(name)
        view, done = memoryview(buf), 0
        while fd >= 0 and done < len(view):
            got = os.preadv(fd, [view[done:]], offset + done)
            if got == 0:
                break
            done += got
        if done < len(view) and (file := self._files.get(name)) is not None:
            done += file.read_on_its_way(offset + done, view[done:])
        return done

    def size(self, name: str) -> int:
        file = self._files.get(name)
        if file is not None:
            return file.size
        try:
            return os.stat(self.root / name).st_size
        except (FileNotFoundError, NotADirectoryError):
            return -1

    def list(self, folder: str) -> list[str]:
        try:
            names = set(os.listdir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            names = set()
        prefix = folder + "/" if folder else ""
        # A queued file may not be on the disk yet.
        names.update(name[len(prefix) :].split("/")[0] for name in self._files if name.startswith(prefix))
        if not folder:
            names.difference_update(OWN_NAMES)
        return sorted(names)

    def remove(self, name: str) -> None:
        self._free_until = 0.0
        for known in [n for n in self._files if n == name or n.startswith(name + "/")]:
            self._forget(self._files.pop(known))
        for known in [n for n in self._read_fds if n == name or n.startswith(name + "/")]:
            os.close(self._read_fds.pop(known))
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Asked of the system once a second at most (it may take a millisecond), less what was appended since."""
        now = time.monotonic()
        if now >= self._free_until:
            stat = os.statvfs(self.root)
            self._free_bytes = stat.f_bavail * stat.f_frsize
            self._free_until = now + FREE_SECS
        return max(0, self._free_bytes)

    # The shell's side.

    def poll(self) -> int:
        """Report what completed; returns how many. With a loop this happens by itself."""
        count = 0
        while self._done:
            ticket, error, file = self._done.popleft()
            count += 1
            while file.unreported and file.unreported[0].ticket <= ticket:
                file.unreported.popleft()
            if self.on_synced is not None:
                self.on_synced(ticket, error)
            if error is not None:
                with self._lock:
                    file.pending_errors -= 1
                    if file.curable and not file.pending_errors and not file.jobs and not file.running:
                        file.error = None
        return count

    @property
    def open_files(self) -> int:
        """Descriptors that it has open."""
        return self._open + len(self._read_fds)

    @property
    def spare_files(self) -> int:
        """How many more it may come to need."""
        return max(0, self._files_max + WORKERS_MAX - self._open) + max(0, self._read_fds_max - len(self._read_fds))

    def hold(self, files_max: int | None) -> None:
        """From now on keep so many files open, as `files_max` says; what is beyond is closed."""
        self._set_files_max(files_max)
        while len(self._read_fds) > self._read_fds_max:
            os.close(self._read_fds.popitem(last=False)[1])
        self._close_idle()
        with self._lock:
            for file in self._files.values():
                if self._open > self._files_max and not file.running:
                    self._close(file)

    def close(self) -> None:
        """Finish what was handed over, close all files, let go of the folder."""
        if self._workers is not None:
            self._workers.shutdown(wait=True)
        for file in self._files.values():
            self._close(file)
        for fd in self._read_fds.values():
            os.close(fd)
        self._files.clear()
        self._read_fds.clear()
        self._dir_lock.release()

    # Inside, on the event loop.

    def _set_files_max(self, files_max: int | None) -> None:
        self._files_max = files_max or FILES_MAX
        self._read_fds_max = min(files_max or READ_FDS_MAX, READ_FDS_MAX)

    def _file(self, name: str) -> WrittenFile:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = WrittenFile(self.root / name, max(0, self.size(name)))
            if len(self._files) > self._files_max:
                self._close_idle()
        return file

    def _close_idle(self) -> None:
        with self._lock:
            for name, file in list(self._files.items())[:-1]:
                if len(self._files) <= self._files_max:
                    return
                if file.idle:
                    del self._files[name]
                    self._close(file)

    def _forget(self, file: WrittenFile) -> None:
        with self._lock:
            file.removed = True
            if not file.running:
                self._close(file)

    def _close(self, file: WrittenFile) -> None:
        """Under the lock."""
        if file.fd >= 0:
            os.close(file.fd)
            file.fd = -1
            self._open -= 1

    def _submit(self, file: WrittenFile, chunks: Sequence[bytes], replace: bool) -> int:
        self._ticket += 1
        job = Job(self._ticket, chunks, replace)
        file.unreported.append(job)
        with self._lock:
            file.jobs.append(job)
            start = not file.running
            file.running = True
        if self._workers is None:
            self._work(file)
        elif start:
            self._workers.submit(self._work, file)
        return self._ticket

    def _read_fd(self, name: str) -> int:
        fd = self._read_fds.get(name)
        if fd is not None:
            self._read_fds.move_to_end(name)
            return fd
        try:
            fd = os.open(self.root / name, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return -1
        self._read_fds[name] = fd
        if len(self._read_fds) > self._read_fds_max:
            os.close(self._read_fds.popitem(last=False)[1])
        return fd

    # Inside, on a worker.

    def _work(self, file: WrittenFile) -> None:
        """Do a file's jobs until there are none; those that gathered meanwhile share one fsync."""
        while True:
            with self._lock:
                jobs = list(file.jobs)
                file.jobs.clear()
                if not jobs:
                    file.running = False
                    if file.removed and file.fd >= 0:
                        file.unlink_same()
                    if file.removed or self._open > self._files_max:
                        self._close(file)
                    return
                error = None if jobs[-1].replace else file.error
            if error is None:
                error = self._write(file, jobs)
            with self._lock:
                file.error = error
                if error is not None:
                    file.pending_errors += len(jobs)
            self._done.extend((job.ticket, error, file) for job in jobs)
            if self._loop is not None:
                try:
                    self._loop.call_soon_threadsafe(self.poll)
                except RuntimeError:  # the loop was closed first: nobody is left to be told
                    pass

    def _write(self, file: WrittenFile, jobs: Sequence[Job]) -> Exception | None:
        if file.fd < 0:
            error = file.open()
            if error is not None:
                return error
            with self._lock:
                self._open += 1
        return file.write(jobs)
