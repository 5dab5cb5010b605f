"""Small state that survives any power cut: two slots, written in turn, each with a generation and a CRC.

Rule: the newer slot is never touched until the older one holds something newer and durable; a write that fails is tried again, and never an
error of the caller. Knows nothing of what it keeps.
"""

import binascii
import struct

from .errors import NOT_STORED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ports import Storage

SLOT_BYTES_MAX = 65536
GENERATION_MAX = (1 << 32) - 1
_HEADER = "<III"
_HEADER_BYTES = 12


class Slots:
    """`<name>.0` and `<name>.1` in a storage. One write is under way at a time; the last content asked for wins."""

    def __init__(self, storage: "Storage", name: str) -> None:
        self._storage = storage
        self._name = name
        self._generation = 0
        self._ticket = 0
        self._waiting: "bytes | None" = None
        self._writing = b""  # what the write under way holds
        self.version = 0  # how often `save` was called
        self.durable_version = 0  # which of these is safe
        self._in_flight = 0
        self._loaded = ""  # the slot that `load` found: a process that was killed may have left it before it was durable
        self._confirming = False

    def load(self) -> "bytes | None":
        """What was last saved, or None. A slot that is torn, rotten or missing is passed over."""
        best: "bytes | None" = None
        for i in range(2):
            name = "%s.%d" % (self._name, i)
            size = self._storage.size(name)
            if not _HEADER_BYTES <= size <= SLOT_BYTES_MAX:
                continue
            buf = bytearray(size)
            if self._storage.read_into(name, 0, buf) != size:
                continue
            crc, generation, length = struct.unpack_from(_HEADER, buf)
            if length != size - _HEADER_BYTES or binascii.crc32(memoryview(buf)[4:]) != crc:
                continue
            if self._generation <= generation < GENERATION_MAX:  # one more must be there for the next write
                self._generation = generation
                self._loaded = name
                best = bytes(memoryview(buf)[_HEADER_BYTES:])
        return best

    def save(self, content: bytes) -> int:
        """Ask for `content` (at most SLOT_BYTES_MAX - 12 bytes) to be kept; returns the version that
        `durable_version` will reach. It may start a write: see `ticket`. Where the storage refuses, `stalled` says
        so, and `retry` or the next save tries again."""
        self.version += 1
        self._waiting = content
        self._start()
        return self.version

    def _start(self) -> None:
        if self._ticket or self._waiting is None:
            return
        if self._loaded:
            self._confirm()
            return
        generation = self._generation + 1
        try:
            tail = struct.pack("<II", generation, len(self._waiting)) + self._waiting
            name = "%s.%d" % (self._name, generation % 2)
            self._ticket = self._storage.replace(name, struct.pack("<I", binascii.crc32(tail)) + tail)
        except NOT_STORED:
            return  # the generation stays: the next try goes to the same slot, the other one is the good one
        self._generation = generation
        self._in_flight = self.version
        self._writing, self._waiting = self._waiting, None

    def _confirm(self) -> None:
        """What was loaded is made durable before the other slot, which may be the only durable one, is written over."""
        try:
            self._ticket = self._storage.sync(self._loaded)
            self._confirming = True
        except NOT_STORED:
            pass

    @property
    def stalled(self) -> bool:
        """Something waits to be written, and nothing is under way: the last write failed."""
        return self._waiting is not None and not self._ticket

    def retry(self) -> None:
        """Try again what failed."""
        self._start()

    @property
    def ticket(self) -> int:
        """The storage ticket of the write under way, 0 if none."""
        return self._ticket

    def synced(self, error: "Exception | None") -> None:
        """The write under way ended. After an error the other slot still holds the last good content, and what failed waits:
        see `stalled`."""
        self._ticket = 0
        if self._confirming:
            self._confirming = False
            if error is None:
                self._loaded = ""
                self._start()
            return
        if error is None:
            self.durable_version = self._in_flight
            self._start()
            return
        self._generation -= 1  # the same slot again: the other one is the good one
        if self._waiting is None:
            self._waiting = self._writing
