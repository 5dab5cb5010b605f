"""Flashes in memory for the tests of the storage on them: mount, read all, fill up.

Small ones: every test goes round its ring. What the layout costs is known from docs/FORMAT.md, not from the code under test.
"""

import errno

from harness import MemoryStorage, Random, raises
from nor_flash import NorFlash
from streamline_board.flash_storage import FlashStorage
from streamline_core.errors import StorageFull

BLOCK_BYTES = 1024
FOLDER = "t-0/e1-0000abcd"
HEADER_BYTES = 20 + len(FOLDER) + 25
ROOM_BYTES = BLOCK_BYTES - HEADER_BYTES


class Files(MemoryStorage):
    """The file system beside the flash: the part of FileStorage that MemoryStorage lacks."""

    def __init__(self):
        super().__init__()
        self.errors = {}

    def ticket_for(self, error):
        self._ticket += 1
        self._pending.append((self._ticket, None, b""))
        self.errors[self._ticket] = error
        return self._ticket

    @property
    def waiting(self):
        return len(self._pending) > 0


class FailingFlash(NorFlash):
    """Fails at the operations named in `failing`: it does them, and raises OSError all the same."""

    failing = ()

    def _change(self, block, offset, old, after):
        super()._change(block, offset, old, after)
        if self.operations in self.failing:
            raise OSError(errno.EIO, "as asked")


def seg(number):
    return "%s/%020d.seg" % (FOLDER, number)


def mounted(flash, files=None):
    return FlashStorage(flash, files or Files())


def read(storage, name, offset=0, length=None):
    buf = bytearray(max(0, storage.size(name)) + 9 if length is None else length)
    return bytes(memoryview(buf)[: storage.read_into(name, offset, buf)])


def fill(storage, blocks, number=10**6):
    """Append as much as so many blocks hold to a new segment, and not a byte more; returns its content."""
    assert storage.free_bytes() == blocks * (BLOCK_BYTES - 256)
    content = Random(number).bytes(97) * (blocks * ROOM_BYTES // 97 + 1)
    content = content[: blocks * ROOM_BYTES]
    if blocks:
        storage.append(seg(number), content)
    raises(StorageFull, storage.append, seg(number), b"x")
    assert storage.free_bytes() == 0 and read(storage, seg(number)) == content
    return content
