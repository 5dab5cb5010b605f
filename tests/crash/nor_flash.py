"""A NOR flash in memory, as strict as a real one and able to lose its power: what tests of flash storage run on, on both interpreters.

Rule: a program only clears bits, in whole aligned pages; an erase sets a block to ones; a power cut leaves any part of either done. What a
real chip would spoil in silence is an AssertionError here. Must not know: who writes what.
"""

PAGE_BYTES = 256
_COUNT, _BLOCK_BYTES, _ERASE = 4, 5, 6


class PowerCut(BaseException):
    """The power is gone. Not an Exception, so that no code that copes with errors can cope with this one."""


class NorFlash:
    """The extended block device of MicroPython over `block_count` erase blocks.

    erases: how often each block was erased. operations: programs and erases so far. cut_at: the number of the operation (the first is 1)
    that a power cut leaves half done, 0 for none; random (an object with `below`) then says which half. From there on everything
    raises PowerCut until `power_on`.
    """

    def __init__(self, block_count, block_bytes=4096, random=None):
        assert block_bytes % PAGE_BYTES == 0
        self.block_bytes = block_bytes
        self.blocks = [bytearray(b"\xff" * block_bytes) for _ in range(block_count)]
        self.erases = [0] * block_count
        self.operations = 0
        self.cut_at = 0
        self.random = random
        self._off = False

    def power_on(self):
        """The contents are as the cut left them; nothing is to be cut any more."""
        self._off = False
        self.cut_at = 0

    def readblocks(self, block, buf, offset=0):
        self._powered()
        data = self.blocks[block]
        assert 0 <= offset and offset + len(buf) <= len(data), "block %d: %d bytes read at %d" % (block, len(buf), offset)
        memoryview(buf)[:] = memoryview(data)[offset : offset + len(buf)]

    def writeblocks(self, block, buf, offset=None):
        self._powered()
        assert offset is not None, "block %d: a write without an offset would erase" % block
        n = len(buf)
        where = "block %d, offset %d, %d bytes" % (block, offset, n)
        assert n and n % PAGE_BYTES == 0 and offset % PAGE_BYTES == 0, where + ": only whole aligned pages can be programmed"
        assert 0 <= offset and offset + n <= self.block_bytes, where + ": outside of the block"
        old = bytes(memoryview(self.blocks[block])[offset : offset + n])
        after = bytearray(n)
        for i in range(n):
            # A byte of ones says "leave it as it is"; any other must find all of its ones.
            assert buf[i] == 0xFF or buf[i] & ~old[i] & 0xFF == 0, "block %d, offset %d: 0x%02x cannot become 0x%02x" % (
                block, offset + i, old[i], buf[i],
            )  # fmt: skip
            after[i] = old[i] & buf[i]
        self._change(block, offset, old, after)

    def ioctl(self, op, arg):
        self._powered()
        if op == _COUNT:
            return len(self.blocks)
        if op == _BLOCK_BYTES:
            return self.block_bytes
        assert op == _ERASE, "ioctl %r" % op
        self.erases[arg] += 1
        self._change(arg, 0, bytes(self.blocks[arg]), b"\xff" * self.block_bytes)
        return 0

    def _powered(self):
        if self._off:
            raise PowerCut("still off")

    def _change(self, block, offset, old, after):
        """Bytes of a block become `after`, or at a power cut some of their bits do."""
        self.operations += 1
        data = memoryview(self.blocks[block])[offset : offset + len(after)]
        if self.operations != self.cut_at:
            data[:] = after
            return
        self._off = True
        data[:] = self.half_done(old, after)
        raise PowerCut("at operation %d" % self.operations)

    def half_done(self, old, after):
        """What a cut leaves: `old` with some of the bits changed that `after` has changed. A test may put another function here."""
        below = self.random.below
        # Bits that change, of 8: none, all (cut right after it), few, half, most; and up to some byte, since a chip may work in order.
        chance = (0, 8, 1, 4, 7)[below(5)]
        end = len(after) if below(2) else below(len(after) + 1)
        left = bytearray(old)
        for i in range(end):
            changing = old[i] ^ after[i]
            for bit in range(8):
                if changing >> bit & 1 and below(8) < chance:
                    left[i] ^= 1 << bit
        return left
