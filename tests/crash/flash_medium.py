"""The flash storage on a NorFlash, and a file system beside it that loses its power at the same moment.

Rule: programs and erases of the flash and changes of the files are counted together; any of them may be the one that the cut comes in.
What it leaves of a flash operation is the flash's to say. Must not know: what lies where.
"""

import nor_flash
from disk import KEEP, PowerCut, SimDisk
from harness import FakeClock, Random
from streamline_board.flash_storage import FlashStorage

WALL_MS = 1700000000000
BLOCK_BYTES = 1024
BLOCKS = 40


class _Flash(nor_flash.NorFlash):
    """Cut by the medium's count, not by its own."""

    def __init__(self, medium):
        super().__init__(BLOCKS, BLOCK_BYTES, medium.random)
        self.medium = medium

    def _change(self, block, offset, old, after):
        if self.medium.count():
            self.cut_at = self.operations + 1
        super()._change(block, offset, old, after)


class _Files(SimDisk):
    """The part of FileStorage that SimDisk lacks: tickets for the storage on top."""

    def __init__(self, medium):
        super().__init__(medium.random, medium.clock.monotonic_ms)
        self.medium = medium
        self._given = []

    def _call(self):
        return self.medium.count()

    def ticket_for(self, error):
        self._ticket += 1
        self._given.append((self._ticket, error))
        return self._ticket

    @property
    def waiting(self):
        return len(self._given) > 0 or self.due_ms >= 0

    def completed(self):
        done = super().completed()
        done, self._given = self._given + done, []
        return done

    def _restart(self, files):
        self._given = []
        super()._restart(files)


class FlashMedium:
    """calls: programs, erases, and what SimDisk counts, since the power came."""

    flavours = KEEP
    cuts = (PowerCut, nor_flash.PowerCut)

    def __init__(self, seed):
        self.clock = FakeClock(1000, WALL_MS)
        self.random = Random(seed)
        self.flash = _Flash(self)
        self.files = _Files(self)
        self.calls = self.cut_at = 0
        self._armed, self._flavour = 0, "none"

    def count(self):
        """One more; whether the power goes in it."""
        self.calls += 1
        return self.calls == self.cut_at

    def arm(self, call, flavour):
        self._armed, self._flavour = call, flavour

    def power_on(self):
        self.calls, self.cut_at, self._armed = 0, self._armed, 0
        self.flash.power_on()
        return FlashStorage(self.flash, self.files)

    def power_off(self):
        self.files.power_cut(self._flavour)

    def save(self):
        return [bytes(block) for block in self.flash.blocks], self.files.image(), self.clock.monotonic

    def load(self, saved, seed):
        for i in range(BLOCKS):
            self.flash.blocks[i][:] = saved[0][i]
        self.files.restore(saved[1])
        self.random = self.flash.random = self.files.random = Random(seed)
        self.clock.advance(saved[2] - self.clock.monotonic)
