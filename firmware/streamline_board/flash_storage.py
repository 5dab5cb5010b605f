"""The Storage port on a raw flash partition: segments lie in its erase blocks, all else in the file system beside it.

Rule: what `append` returned from is on the flash, so a sync is only a ticket. A segment is a list of blocks, each filled before the next is
taken, and given back from its end: so a power cut leaves a beginning of it. One that was found at mount is as long as its
blocks, since nobody knows where its data ends, and is never appended to: the core begins a new one at each opening.
Must not know: what is in the segments, how a block says whose it is.
"""

import errno
from array import array

from streamline_core.errors import StorageFull

from .flash_blocks import NO_BLOCK, PAGE_BYTES, FlashBlocks, header_bytes

_SEGMENT = ".seg"


class _Segment:
    """blocks: its blocks in order. size: bytes appended, or where it was found at mount: that its blocks can hold."""

    def __init__(self, name, block_bytes, found):
        self.blocks = array("H")
        self.room_bytes = block_bytes - header_bytes(name)  # in each block
        self.size = 0
        self.found = found
        self.error = None  # of an append since the last sync


class FlashStorage:
    """device: see FlashBlocks; it belongs to this alone. files: a FileStorage (one that hands out tickets by `ticket_for`).

    RAM: 1 byte per block and 2 more for each in use; about 100 bytes (on 32 bits) and the name for each segment. Opening it reads a page of
    each block; nothing that it finds there can make it fail. Taking a block erases it: some 50 ms, on a worn flash up to 400.
    Raises UsageError, OSError: see FlashBlocks.
    """

    def __init__(self, device, files):
        self._files = files
        self._blocks = FlashBlocks(device)
        self._segments = {}
        for block, name, index in self._blocks.scan():
            self._place(block, name, index)

    def _place(self, block, name, index):
        """A block was found. Where one is missing before it, its header has rotted: what is there stays in its place."""
        segment = self._segments.get(name)
        if segment is None:
            segment = self._segments[name] = _Segment(name, self._blocks.block_bytes, True)
        blocks = segment.blocks
        while len(blocks) <= index:
            blocks.append(NO_BLOCK)
        other, blocks[index] = blocks[index], block
        if other != NO_BLOCK:
            # The device failed when the older one was given its header, which got there all the same: it was never used.
            if self._blocks.sequence_of(other) > self._blocks.sequence_of(block):
                blocks[index], other = other, block
            self._blocks.give_back(other)
        segment.size = len(blocks) * segment.room_bytes

    # The port

    def append(self, name, data):
        """As the port says. StorageFull comes before anything is written; after another error some of `data` may be there, counts as
        there, and is not written over."""
        if not name.endswith(_SEGMENT):
            self._files.append(name, data)
            return
        segment = self._segments.get(name)
        if segment is None:
            segment = _Segment(name, self._blocks.block_bytes, False)
        elif segment.found:
            raise OSError(errno.EPERM, "%s was there at mount: where its data ends is not known" % name)
        try:
            self._append(segment, name, data)
        except (StorageFull, OSError) as error:
            segment.error = error
            raise

    def _append(self, segment, name, data):
        room_bytes = segment.room_bytes
        blocks, left = segment.blocks, len(segment.blocks) * room_bytes - segment.size
        if len(data) - left > self._blocks.free * room_bytes:
            raise StorageFull("no room for %d bytes in %s: %d blocks are free" % (len(data), name, self._blocks.free))
        if not blocks:
            self._take(name, blocks)
            self._segments[name] = segment
            left = room_bytes
        view, at = memoryview(data), 0
        while at < len(view):
            if not left:
                self._take(name, blocks)
                left = room_bytes
            n = min(left, len(view) - at)
            segment.size += n  # before it is tried: after an error nobody may program there again
            self._blocks.program(blocks[-1], self._blocks.block_bytes - left, view[at : at + n])
            at += n
            left -= n

    def _take(self, name, blocks):
        block = self._blocks.take(name, len(blocks))
        try:
            blocks.append(block)
        except MemoryError:
            self._blocks.give_back(block)
            raise

    def sync(self, name):
        if not name.endswith(_SEGMENT):
            return self._files.sync(name)
        segment = self._segments.get(name)
        if segment is None:
            return self._files.ticket_for(OSError(errno.ENOENT, name))
        ticket = self._files.ticket_for(segment.error)
        segment.error = None
        return ticket

    def completed(self):
        """[(ticket, error or None)] of all that was asked since the last call."""
        return self._files.completed()

    @property
    def waiting(self):
        """Whether `completed` has something to tell."""
        return self._files.waiting

    def replace(self, name, data):
        if not name.endswith(_SEGMENT):
            return self._files.replace(name, data)
        self.remove(name)
        self.append(name, data)
        return self.sync(name)

    def read_into(self, name, offset, buf):
        if not name.endswith(_SEGMENT):
            return self._files.read_into(name, offset, buf)
        segment = self._segments.get(name)
        if segment is None or offset >= segment.size:
            return 0
        room_bytes = segment.room_bytes
        n = min(len(buf), segment.size - offset)
        view, at = memoryview(buf), 0
        while at < n:
            left = room_bytes - offset % room_bytes
            piece = view[at : at + min(left, n - at)]
            self._blocks.read(segment.blocks[offset // room_bytes], self._blocks.block_bytes - left, piece)
            at += len(piece)
            offset += len(piece)
        return n

    def size(self, name):
        if not name.endswith(_SEGMENT):
            return self._files.size(name)
        segment = self._segments.get(name)
        return -1 if segment is None else segment.size

    def list(self, folder):
        names = set(self._files.list(folder))
        prefix = folder + "/" if folder else ""
        for name in self._segments:
            if name.startswith(prefix):
                names.add(name[len(prefix) :].split("/")[0])
        return list(names)

    def remove(self, name):
        """As the port says; it needs no room. Of a folder, the last segment goes first and all else last, so that a power cut leaves a
        log that ends earlier, and knows what it was."""
        if name.endswith(_SEGMENT):
            if name in self._segments:
                self._give_back(name)
            return
        prefix = name + "/"
        for inner in sorted([inner for inner in self._segments if inner.startswith(prefix)], reverse=True):
            self._give_back(inner)
        self._files.remove(name)

    def _give_back(self, name):
        segment = self._segments[name]
        while segment.blocks:
            block = segment.blocks[-1]
            if block != NO_BLOCK:
                self._blocks.give_back(block)
            segment.blocks = segment.blocks[:-1]  # step by step: should the device fail, no block is given back twice
            segment.size = min(segment.size, len(segment.blocks) * segment.room_bytes)
        del self._segments[name]

    def free_bytes(self):
        """Room left for segments, whatever their names; the file system's is apart."""
        return self._blocks.free * (self._blocks.block_bytes - PAGE_BYTES)
