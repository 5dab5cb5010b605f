"""The board's side of the soak, run by MicroPython: the firmware's own loop on a flash that is a file, in a time that is handed to it.

Rule: nothing of the core or the shell is replaced but the clock and the flash. Time goes on only when a turn has nothing more to do at its
moment, or the far end has answered; so a day takes minutes, and no wait is a real one. Must not know: what is measured of it.

Usage: micropython -m soak_board CONFIG FLASH BLOCKS RECORDS_MAX EVERY_MS PER_STEP. After each turn it prints "t NOW_MS", and waits for a
byte: "g" to go on, "m" to report its heap, "0" to "9" to fill the heap up until so little is left as SQUEEZES says, "f" to free that, "q"
to stop. Nothing of this allocates, since there may be nothing to allocate.
"""

import gc
import sys

gc.threshold(8192)

import micropython

from streamline_board import loop as loop_module
from streamline_board.flash_storage import FlashStorage
from streamline_board.storage import FileStorage
from streamline_core.errors import QueueFull, StorageFull

BLOCK_BYTES = 4096
VALUE = b"%010d,21.5,1013.2,48"
STEP_MS_MAX = 1000
SQUEEZES = (0, 64, 256, 512, 1024, 2048, 3072, 4096, 8192, 16384)  # bytes left
PIECE_BYTES_MIN = 16
STOP, REPORT, FREE, DIGIT = 113, 109, 102, 48  # q, m, f, 0
_COUNT, _BLOCK_BYTES, _ERASE = 4, 5, 6


class InjectedClock:
    """A board without a battery: it learns the time from the hub."""

    def __init__(self):
        self.now_ms = 0

    def monotonic_ms(self):
        return self.now_ms

    def wall_ms(self):
        return None

    def zone_ms(self, wall_ms):
        return 0


class FileFlash:
    """The extended block device over a file, for a heap that has no room for a flash."""

    def __init__(self, path, blocks):
        self._file = open(path, "r+b")
        self._blocks = blocks
        self._page = bytearray(256)
        self._blank = b"\xff" * 256
        self.erases = 0

    def readblocks(self, block, buf, offset=0):
        self._file.seek(block * BLOCK_BYTES + offset)
        self._file.readinto(buf)

    def writeblocks(self, block, buf, offset=0):
        page, at = self._page, block * BLOCK_BYTES + offset
        self._file.seek(at)
        self._file.readinto(page)
        for i in range(len(page)):  # programming only clears bits
            page[i] &= buf[i]
        self._file.seek(at)
        self._file.write(page)

    def ioctl(self, op, arg):
        if op == _COUNT:
            return self._blocks
        if op == _BLOCK_BYTES:
            return BLOCK_BYTES
        if op == _ERASE:
            self.erases += 1
            self._file.seek(arg * BLOCK_BYTES)
            for _ in range(BLOCK_BYTES // len(self._page)):
                self._file.write(self._blank)
        return 0


class Readings:
    """`per_step` readings every `every_ms`, as a sensor gives them, numbered from 0. The loop's source."""

    def __init__(self, every_ms, per_step, records_max):
        self._every_ms = every_ms
        self._per_step = per_step
        self._left = records_max
        self._at_ms = 0
        self.produced = 0
        self.refused = 0

    def produce(self, node, now_ms):
        if not self._left:
            return now_ms + STEP_MS_MAX
        if now_ms >= self._at_ms:
            self._at_ms += self._every_ms
            for _ in range(min(self._per_step, self._left)):
                try:
                    node.produce("readings", VALUE % self.produced)
                    self.produced += 1
                except (QueueFull, StorageFull):
                    self.refused += 1
                self._left -= 1
        return self._at_ms


class Ballast:
    """Fills the heap."""

    def __init__(self):
        self._pieces = None

    def load(self, left_bytes):
        """Until no more than so much is free."""
        self.free()
        size = 65536
        while size >= PIECE_BYTES_MIN:
            if gc.mem_free() - size < left_bytes:
                size //= 2
                continue
            try:
                self._pieces = (self._pieces, bytearray(size))
            except MemoryError:
                size //= 2

    def free(self):
        while self._pieces is not None:  # one by one: a long chain is no tree to mark
            self._pieces = self._pieces[0]
        gc.collect()


def main(arguments):
    from streamline_board.configuration import load

    config = load(arguments[0])
    del load
    clock = InjectedClock()
    flash = FileFlash(arguments[1], int(arguments[2]))
    readings = Readings(int(arguments[4]), int(arguments[5]), int(arguments[3]))
    loop_module.BoardClock = lambda: clock
    loop_module.FileStorage = lambda folder: FlashStorage(flash, FileStorage(folder))
    loop = loop_module.Loop(config, readings)
    ballast, poll, read, order = Ballast(), loop._poll, sys.stdin.buffer.readinto, bytearray(1)
    while True:
        wait_ms = loop.turn()
        print("t", clock.now_ms)
        if not read(order) or order[0] == STOP:
            break
        if order[0] == REPORT:
            report(loop, readings, flash)
        elif order[0] == FREE:
            ballast.free()
        elif DIGIT <= order[0] < DIGIT + len(SQUEEZES):
            ballast.load(SQUEEZES[order[0] - DIGIT])
        for _ in poll.ipoll(0):  # what the loop's own wait would end with
            wait_ms = 1
        clock.now_ms += min(STEP_MS_MAX, max(1, wait_ms))
    ballast.free()
    loop.close()
    report(loop, readings, flash)


def report(loop, readings, flash):
    """What `micropython.mem_info` prints after a collection, then a line of numbers."""
    gc.collect()
    micropython.mem_info()
    node = loop.node
    row = node.ledger()[-1]
    pending = row["pending"] + row["buffered"]
    print("r", gc.mem_alloc(), gc.mem_free(), readings.produced, readings.refused, flash.erases, pending, end=" ")
    print(row["produced"], node.memory_errors)


main(sys.argv[1:])
