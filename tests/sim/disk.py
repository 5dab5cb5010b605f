"""A Storage as bad as a real one may be: what is not synced may go, stay or tear, and a cut may come in the middle of any call.

Rule: a file keeps what a completed sync covers, and nothing else is promised. Reads see everything, as a page cache does.
Deterministic: what a cut leaves is drawn from the `random` it was given. Runs on both interpreters. Must not know: what the
bytes mean, or who checks them.
"""

from streamline_core.errors import StorageFull

SECTOR_BYTES = 64  # a real one has 512 or 4096; small ones tear small batches
UNLINK_MS = 5000  # a removed file may come back after a cut for so long: nobody syncs folders after a removal
KEEP = ("none", "part", "all", "torn", "any")  # what a cut leaves of unsynced bytes; "any" draws for each file
EIO = 5


class PowerCut(BaseException):
    """The power went in the middle of a storage call. Not an Exception: nothing that runs on the machine can catch it."""


class _File:
    def __init__(self, content=b"", known=False):
        self.data = bytearray(content)
        self.synced = len(self.data) if known else 0  # bytes that are safe
        self.known = known  # its name is safe
        self.before = None  # of a file being replaced: (content, known) as it was
        self.under_way = 0  # syncs not completed


class SimDisk:
    """random: draws what a cut leaves (`below`); now: virtual ms; capacity: bytes, None for no bound; latency_ms: the bound of a sync's
    duration."""

    def __init__(self, random, now=None, capacity=None, latency_ms=0):
        self.random = random
        self.now = now or _never
        self.capacity = capacity
        self.latency_ms = latency_ms
        self.late_errors = False  # a full disk shows at the sync, as where writes are queued, and not at the append
        self.unreadable = False
        self.on_remove = None  # called with (name, content) before a file goes
        self.calls = 0  # that change something; a sync's completion is one
        self.cut_at = 0  # the call during which the power goes, 0 for never
        self.files = {}
        self.used = 0
        self._removed = []  # [(ms, name, content)] of what may come back
        self._pending = []  # [due ms, ticket, name, file, bytes (-1: all), error]
        self._poisoned = {}  # name: error of an append since its last reported sync
        self._last_due = {}
        self._ticket = 0

    # The port

    def append(self, name, data):
        cut = self._call()
        file = self.files.get(name)
        if file is None:
            file = self.files[name] = _File()
        if cut:
            self._add(file, data[: self.random.below(len(data) + 1)])
            raise PowerCut
        if name in self._poisoned:
            return
        if self.capacity is not None and self.used + len(data) > self.capacity:
            self._add(file, data[: max(0, self.capacity - self.used)])
            error = StorageFull("no room for %d bytes in %s" % (len(data), name))
            if not self.late_errors:
                raise error
            self._poisoned[name] = error
            return
        self._add(file, data)

    def _add(self, file, data):
        file.data.extend(data)
        self.used += len(data)

    def sync(self, name):
        if self._call():
            raise PowerCut
        file = self.files.get(name)
        if file is None:
            file = self.files[name] = _File()
        return self._ask(name, file, len(file.data))

    def replace(self, name, data):
        cut = self._call()
        file = self.files.get(name)
        if file is None:
            file = self.files[name] = _File()
        if file.before is None:
            file.before = bytes(file.data), file.known
        self.used += len(data) - len(file.data)
        file.data = bytearray(data)
        file.synced = 0
        if cut:
            raise PowerCut
        if self.capacity is not None and self.used > self.capacity:
            if not self.late_errors:
                self._put_back(file)
                raise StorageFull("no room for %d bytes in %s" % (len(data), name))
            self._poisoned[name] = StorageFull("no room for %d bytes in %s" % (len(data), name))
        return self._ask(name, file, -1)

    def _put_back(self, file):
        self.used += len(file.before[0]) - len(file.data)
        file.data, file.known = bytearray(file.before[0]), file.before[1]
        file.synced = len(file.data) if file.known else 0
        file.before = None

    def _ask(self, name, file, length):
        self._ticket += 1
        due_ms = self.now()
        if self.latency_ms:
            due_ms += 1 + self.random.below(self.latency_ms)
        due_ms = max(due_ms, self._last_due.get(name, 0))
        self._last_due[name] = due_ms
        file.under_way += 1
        self._pending.append((due_ms, self._ticket, name, file, length, self._poisoned.get(name)))
        return self._ticket

    def read_into(self, name, offset, buf):
        if self.unreadable:
            raise OSError(EIO)
        file = self.files.get(name)
        if file is None:
            return 0
        piece = file.data[offset : offset + len(buf)]
        buf[: len(piece)] = piece
        return len(piece)

    def size(self, name):
        file = self.files.get(name)
        return len(file.data) if file is not None else -1

    def list(self, folder):
        prefix = folder + "/" if folder else ""
        names = {}
        for name in self.files:
            if name.startswith(prefix):
                names[name[len(prefix) :].split("/")[0]] = None
        return sorted(names)

    def remove(self, name):
        for path in sorted([path for path in self.files if path == name or path.startswith(name + "/")]):
            if self._call():
                if self.random.below(2):
                    self._unlink(path)
                raise PowerCut
            self._unlink(path)

    def _unlink(self, path):
        file = self.files.pop(path)
        self.used -= len(file.data)
        self._poisoned.pop(path, None)
        if self.on_remove is not None:
            self.on_remove(path, file.data)
        if file.known:
            self._removed.append((self.now(), path, bytes(file.data[: file.synced])))

    def free_bytes(self):
        return 1 << 30 if self.capacity is None else max(0, self.capacity - self.used)

    # The shell's side

    @property
    def due_ms(self):
        """When the next sync completes, -1 for none under way."""
        return min([row[0] for row in self._pending]) if self._pending else -1

    def completed(self):
        """[(ticket, error or None)] of the syncs that are done by now; what they covered is safe from here on."""
        now_ms = self.now()
        done, waiting = [], []
        for row in self._pending:
            (done if row[0] <= now_ms else waiting).append(row)
        if not done:
            return []
        self._pending = waiting
        if self._call():
            self._settle(done[: self.random.below(len(done) + 1)])
            raise PowerCut
        return self._settle(done)

    def _settle(self, rows):
        tickets = []
        for _, ticket, name, file, length, error in rows:
            file.under_way -= 1
            if error is not None:
                if not file.under_way:
                    self._poisoned.pop(name, None)  # the core has seen it, and looks at what is left
                    if file.before is not None:
                        self._put_back(file)
            elif length < 0:
                if not file.under_way:
                    file.before = None
                    file.synced, file.known = len(file.data), True
            else:
                file.synced, file.known = max(file.synced, length), True
            tickets.append((ticket, error))
        return tickets

    def _call(self):
        """Count a call; True if the power goes during it."""
        self.calls += 1
        return self.calls == self.cut_at

    # What may happen to it

    def power_cut(self, keep="any"):
        """What a cut leaves is all there is from here on, and safe. keep: one of KEEP."""
        survivors = {}
        for name in sorted(self.files):
            content = self._after_cut(self.files[name], keep)
            if content is not None:
                survivors[name] = _File(content, True)
        now_ms = self.now()
        for at_ms, name, content in self._removed:
            if keep == "any" and name not in survivors and now_ms - at_ms < UNLINK_MS and self.random.below(4) == 0:
                survivors[name] = _File(content, True)
        self._restart(survivors)
        self._removed = []

    def kill(self):
        """The process ends, the machine goes on: what was handed to the system is still in its cache, and as unsafe as before. What
        lay in the process's own queue is gone."""
        for name in sorted(self.files):
            file = self.files[name]
            file.under_way = 0
            if file.before is None and len(file.data) > file.synced:
                kept = file.synced + self.random.below(len(file.data) - file.synced + 1)
                file.data = file.data[:kept]
        self._restart(self.files)

    def _restart(self, files):
        self.files = files
        self.used = sum([len(file.data) for file in files.values()])
        self._pending = []
        self._poisoned = {}
        self._last_due = {}
        self.cut_at = 0

    def _after_cut(self, file, keep):
        """The content that a file has after a cut, None if it is not there."""
        if keep == "any":
            keep = KEEP[self.random.below(4)]
        if file.before is not None:
            content, known = file.before
            if keep == "none":
                return content if known else None
            return _torn(self.random, bytes(file.data), 0) if keep == "torn" else self._part(file.data, 0, keep)
        if len(file.data) == file.synced:
            return bytes(file.data) if file.known or keep != "none" else None
        if keep == "none":
            return bytes(file.data[: file.synced]) if file.known else None
        content = self._part(file.data, file.synced, keep)
        return _torn(self.random, content, file.synced) if keep == "torn" else content

    def _part(self, data, synced, keep):
        return bytes(data) if keep == "all" else bytes(data[: synced + self.random.below(len(data) - synced + 1)])

    def rot(self, name, at, bit):
        """A bit of a file turns over."""
        self.files[name].data[at] ^= 1 << bit

    def image(self):
        """A copy of what is safe now: {name: content}."""
        files = {}
        for name, file in self.files.items():
            if file.before is not None:
                if file.before[1]:
                    files[name] = file.before[0]
            elif file.known:
                files[name] = bytes(file.data[: file.synced])
        return files

    def restore(self, image):
        """As if the disk were replaced by one with these files."""
        self._removed = []
        self._restart({name: _File(image[name], True) for name in image})


def _torn(random, content, safe):
    """Sectors above `safe` may be missing (zeros) though later ones are there: nobody promised an order."""
    torn = bytearray(content)
    at = safe
    while at < len(torn):
        end = min(len(torn), at - at % SECTOR_BYTES + SECTOR_BYTES)
        if random.below(3) == 0:
            torn[at:end] = bytes(end - at)
        at = end
    return bytes(torn)


def _never():
    return 0
