"""The Storage port over a file system: littlefs on a board, the host's under the unix port.

Rule: what `sync` reported is on the medium (flush is a real sync on both). Its completion is handed out later, by `completed`, never from
within the call. At most FILES_MAX files are open. Must not know: what is in the files.
"""

import errno
import os
import struct

try:
    import socket
except ImportError:
    socket = None  # a board without a network

from streamline_core.errors import StorageFull, UsageError

FILES_MAX = 4  # to write, and as many to read
SIZES_MAX = 16
_FOLDER = 0x4000


class FileStorage:
    """folder: where everything lies; step: called with each file that is looked at, where what takes long has to show that it gets on.
    Raises UsageError where another process has the folder (where the platform can tell), or it is none, OSError where it cannot be made."""

    def __init__(self, folder, step=None):
        self._folder = folder
        self._step = step
        self._writers = []  # [name, file], least recently used first
        self._readers = []
        self._done = []
        self._ticket = 0
        self._sizes = {}  # of files that were appended to; at most SIZES_MAX
        self._dirty = set()  # appended to since they were last synced
        self._made = set()
        try:
            self._make(folder + "/x")
            kind = os.stat(folder)[0]
        except OSError as error:
            raise OSError("data_dir: %s: cannot be made: %s" % (folder, error))
        if not kind & _FOLDER:
            raise UsageError("data_dir: %s: is no folder" % folder)
        self._lock = _lock(folder)

    def _make(self, path):
        at = path.find("/", 1)
        while at > 0:
            part = path[:at]
            if part not in self._made:
                try:
                    os.mkdir(part)
                except OSError as error:
                    if error.errno != errno.EEXIST:
                        raise
                self._made.add(part)
            at = path.find("/", at + 1)

    def _open(self, files, name, mode):
        if self._step is not None:
            self._step()
        for i in range(len(files)):
            if files[i][0] == name:
                row = files.pop(i)
                files.append(row)
                return row[1]
        path = self._folder + "/" + name
        if mode != "rb":
            self._make(path)
        if len(files) >= FILES_MAX:
            self._close(files, files[0][0])
        file = open(path, mode)
        files.append((name, file))
        return file

    def _close(self, files, name):
        for i in range(len(files)):
            if files[i][0] == name:
                self._sizes.pop(name, None)
                files.pop(i)[1].close()  # closing flushes, so nothing is forgotten; `sync` opens it again if it must
                return

    def append(self, name, data):
        try:
            file = self._open(self._writers, name, "ab")
            n = file.write(data)
            if n != len(data):
                raise OSError(errno.ENOSPC)
        except OSError as error:
            self._sizes.pop(name, None)  # a part may have been written
            if error.errno == errno.ENOSPC:
                raise StorageFull("no room for %d bytes in %s" % (len(data), name))
            raise
        self._dirty.add(name)
        if len(self._sizes) >= SIZES_MAX and name not in self._sizes:
            self._sizes.clear()
        self._sizes[name] = self._sizes[name] + n if name in self._sizes else file.seek(0, 2)

    def sync(self, name):
        error = None
        self._dirty.discard(name)
        try:
            self._open(self._writers, name, "ab").flush()
        except OSError as failed:
            error = failed
        self._close(self._readers, name)  # on littlefs an open file sees what was there when it was opened
        return self.ticket_for(error)

    def ticket_for(self, error):
        """A ticket that `completed` hands out with this error (or None). There is one sequence of them, for a storage on top as well."""
        self._ticket += 1
        self._done.append((self._ticket, error))
        return self._ticket

    def completed(self):
        """[(ticket, error or None)] of all that was asked since the last call."""
        done, self._done = self._done, []
        return done

    def replace(self, name, data):
        error = None
        self._close(self._writers, name)
        self._close(self._readers, name)
        self._sizes.pop(name, None)
        try:
            path = self._folder + "/" + name
            self._make(path)
            with open(path, "wb") as file:
                file.write(data)
                file.flush()
        except OSError as failed:
            error = failed
        return self.ticket_for(error)

    def read_into(self, name, offset, buf):
        if name in self._dirty:  # only a fork reads what is not synced; littlefs shows it to nobody before
            self._open(self._writers, name, "ab").flush()
            self._close(self._readers, name)
            self._dirty.discard(name)
        try:
            file = self._open(self._readers, name, "rb")
        except OSError:
            return 0
        file.seek(offset)
        return file.readinto(buf) or 0

    @property
    def waiting(self):
        """Whether `completed` has something to tell."""
        return len(self._done) > 0

    def size(self, name):
        if self._step is not None:
            self._step()
        if name in self._sizes:
            return self._sizes[name]
        if name in self._dirty:  # littlefs tells `stat` of what is synced, and of nothing else
            return self._open(self._writers, name, "ab").seek(0, 2)
        try:
            return os.stat(self._folder + "/" + name)[6]
        except OSError:
            return -1

    def list(self, folder):
        try:
            return [row[0] for row in os.ilistdir(self._folder + "/" + folder)]
        except OSError:
            return []

    def remove(self, name):
        self._close(self._writers, name)
        self._close(self._readers, name)
        self._sizes.pop(name, None)
        self._dirty.discard(name)
        path = self._folder + "/" + name
        try:
            folder = os.stat(path)[0] & _FOLDER
        except OSError:
            return
        if folder:
            for inner in self.list(name):
                self.remove(name + "/" + inner)
            os.rmdir(path)
            self._made.discard(path)
        else:
            os.remove(path)

    def free_bytes(self):
        stat = os.statvfs(self._folder)
        if stat[3] > stat[2]:  # a full littlefs counts some blocks twice, and less than none comes as 2^32 - 4
            return 0
        return stat[0] * stat[3] if stat[1] == 0 else stat[1] * stat[3]


def _lock(folder):
    """What locks the folder for as long as this process lives, or None where the platform has no such thing (a board runs one program).

    MicroPython has no flock. An abstract Unix socket (unix(7), Linux) is as good: one name has one owner, and it goes with the
    process, however that ends. The name is the folder's device and inode, so that two paths to one folder are one; their low 32 bits, as
    more is not seen everywhere. The agent under CPython takes the same name (host/streamline_edge/data_dir.py).
    """
    stat = os.stat(folder)
    if socket is None or not stat[1]:
        return None  # no inodes (littlefs on a block device of this process): nobody else can have it mounted
    try:
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except (AttributeError, OSError):
        return None
    try:
        lock.bind(struct.pack("<H", socket.AF_UNIX) + b"\0streamline-%x-%x" % (stat[2] & 0xFFFFFFFF, stat[1] & 0xFFFFFFFF))
    except OSError as error:
        lock.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError("%s is in use by another process: stop it, or give this one another data_dir" % folder)
        return None
    return lock
