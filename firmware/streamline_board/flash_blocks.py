"""The erase blocks of a raw NOR flash, taken in turn as a ring; a header in each says which block of which file it is.

Rule: programming only clears bits, and is done in whole aligned pages with ones where nothing is to change. Whatever a power cut leaves
half done reads as a free block: a header counts only with its CRC and with a `removed` word of all ones, and before a block is
erased the word and then the whole header are zeroed, so that half an erase has nothing to bring back. The bytes: docs/FORMAT.md.
Must not know: which files there are, what the data means.
"""

import binascii
import errno
import struct

from streamline_core.errors import StorageFull, UsageError

PAGE_BYTES = 256  # rp2 programs nothing but whole pages of this size; where less is possible, this is too
BLOCKS_MAX = 0xFFFF
NO_BLOCK = 0xFFFF  # in a list of blocks: one is missing here

_BLANK = b"\xff" * PAGE_BYTES
_MAGIC = 0x31464C53  # "SLF1"
_LIVE = 0xFFFFFFFF
_HEADER = "<IIIIHH"  # magic, removed, CRC of what follows, sequence, index, length of the header; then the name
_HEADER_BYTES = 20
_CHECKED = 12  # the CRC covers the header from here on
_IOCTL_COUNT, _IOCTL_BLOCK_BYTES, _IOCTL_ERASE = 4, 5, 6


def header_bytes(name):
    """How many bytes of each block the header of a file with this name takes. Raises OSError where the name is too long."""
    n = _HEADER_BYTES + len(name.encode())
    if n > PAGE_BYTES:
        raise OSError(errno.EINVAL, "a name of %d bytes: at most %d fit a block's header" % (n - _HEADER_BYTES, PAGE_BYTES - _HEADER_BYTES))
    return n


class FlashBlocks:
    """device: an extended block device (`readblocks`, `writeblocks` with an offset, `ioctl`) as rp2.Flash and esp32.Partition are; not an
    encrypted one, and not one whose ECC forbids to program a page twice. RAM: a byte per block, and two pages.

    free: how many blocks hold nothing, once `scan` has run. Everything raises OSError where the device fails, UsageError where it is none
    for this.
    """

    def __init__(self, device):
        self._device = device
        self.count = device.ioctl(_IOCTL_COUNT, 0)
        self.block_bytes = device.ioctl(_IOCTL_BLOCK_BYTES, 0)
        if not 0 < self.count <= BLOCKS_MAX or self.block_bytes < 2 * PAGE_BYTES or self.block_bytes % PAGE_BYTES:
            raise UsageError(
                "a flash of %r blocks of %r bytes: 1 to %d blocks of whole pages of %d bytes, two or more, can be used"
                % (self.count, self.block_bytes, BLOCKS_MAX, PAGE_BYTES)
            )
        self.free = self.count
        self._used = bytearray(self.count)
        self._page = bytearray(PAGE_BYTES)
        self._last = self.count - 1  # the block taken last
        # Of the block taken last. 2^32 do not run out: 65535 blocks that bear 65536 erases each would be worn by then.
        self._sequence = 0

    def scan(self):
        """Find out which blocks are in use, reading a page of each, and yield (block, name, index) of those. To be exhausted before
        anything else is asked; only the generator's user may call `sequence_of` and `give_back` in between."""
        for block in range(self.count):
            header = self._header(block)
            if header is None:
                continue
            sequence, index, name = header
            if sequence > self._sequence:  # a removed one counts: the ring goes on where it was
                self._sequence, self._last = sequence, block
            if name and index < self.count:
                self._used[block] = 1
                self.free -= 1
                yield block, name, index

    def sequence_of(self, block):
        """When a block in use was taken: of two, the later one has the higher number."""
        return self._header(block)[0]

    def _header(self, block):
        """(sequence, index, name, empty if removed) of a block, None where there is no valid header."""
        page = self._page
        self._done(self._device.readblocks(block, page, 0))
        magic, removed, crc, sequence, index, length = struct.unpack_from(_HEADER, page)
        if magic != _MAGIC or not _HEADER_BYTES < length <= PAGE_BYTES:
            return None
        if binascii.crc32(memoryview(page)[_CHECKED:length]) != crc:
            return None
        return sequence, index, str(page[_HEADER_BYTES:length], "utf-8") if removed == _LIVE else ""

    def take(self, name, index):
        """Make the next free block in turn number `index` of a file, erased but for its header; returns it. Raises StorageFull."""
        if not self.free:
            raise StorageFull("all %d blocks of the flash are in use" % self.count)
        block = (self._last + 1) % self.count
        while self._used[block]:
            block = (block + 1) % self.count
        self._last = block  # whatever becomes of it: after an error the next try is another block's
        self._sequence += 1
        page, length = self._page, header_bytes(name)
        # It may look blank and be half erased, or half programmed with a header that one more bit makes valid: so every block is struck
        # out, zeroed and erased, each from a state that the one before has made certain.
        self._strike_out(block)
        for i in range(PAGE_BYTES):
            page[i] = 0
        self._program(block, 0)
        self._done(self._device.ioctl(_IOCTL_ERASE, block))
        page[:] = _BLANK
        struct.pack_into(_HEADER, page, 0, _MAGIC, _LIVE, 0, self._sequence, index, length)
        page[_HEADER_BYTES:length] = name.encode()
        struct.pack_into("<I", page, 8, binascii.crc32(memoryview(page)[_CHECKED:length]))
        self._program(block, 0)
        self._used[block] = 1
        self.free -= 1
        return block

    def give_back(self, block):
        """A block in use is free from now on, whatever happens. It is erased when it is taken again."""
        self._strike_out(block)
        self._used[block] = 0
        self.free += 1

    def program(self, block, at, data):
        """Program `data` (a memoryview) from byte `at` of a block on, where nothing has been programmed since it was taken."""
        page, done = self._page, 0
        while done < len(data):
            inside = at % PAGE_BYTES
            n = min(PAGE_BYTES - inside, len(data) - done)
            page[:] = _BLANK
            # Copied even where it is a whole page: a frozen constant lies in the very flash that cannot be read meanwhile.
            page[inside : inside + n] = data[done : done + n]
            self._program(block, at - inside)
            done += n
            at += n

    def read(self, block, at, buf):
        """Fill `buf` from byte `at` of a block on. A missing block (NO_BLOCK) reads as an erased one."""
        if block != NO_BLOCK:
            self._done(self._device.readblocks(block, buf, at))
            return
        for i in range(len(buf)):
            buf[i] = 0xFF

    def _strike_out(self, block):
        """Clear the removed word. Any one bit of it is enough."""
        self._page[:] = _BLANK
        struct.pack_into("<I", self._page, 4, 0)
        self._program(block, 0)

    def _program(self, block, at):
        self._done(self._device.writeblocks(block, self._page, at))

    def _done(self, result):
        if result:  # ports raise, or return an error number; None and 0 are well
            raise OSError(errno.EIO, "the flash answered %r" % result)
