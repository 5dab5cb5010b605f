"""littlefs on a RAM block device whose power can go in the middle of any program or erase; the board's FileStorage on top.

MicroPython only. Rule: what a cut leaves of an operation is drawn from the case's seed; from there on the device takes nothing from the
file system that was on it, and the next life mounts the same bytes anew. Must not know: who works on it, or what littlefs writes.
"""

import vfs

from disk import PowerCut
from harness import FakeClock, Random
from streamline_board import storage

WALL_MS = 1700000000000
MOUNT = "/crash"
BLOCK_BYTES = 1024  # small ones fill, wrap and are compacted soon
PROGRAM_BYTES = 64
BLOCKS = 128
_COUNT, _BLOCK_BYTES, _ERASE = 4, 5, 6
_ON, _CUT, _OFF = 0, 1, 2


class _Device:
    """The extended block protocol over `ram`, for one life."""

    def __init__(self, medium):
        self.medium = medium
        self.state = _ON

    def _powered(self):
        if self.state == _CUT:  # littlefs, and whoever called it, may try to clean up
            raise PowerCut("still off")
        return self.state == _ON

    def readblocks(self, block, buf, offset=0):
        self._powered()
        at = block * BLOCK_BYTES + offset
        buf[:] = memoryview(self.medium.ram)[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        if self._powered():
            self._change(block * BLOCK_BYTES + offset, buf)

    def ioctl(self, op, arg):
        if op == _COUNT:
            return BLOCKS
        if op == _BLOCK_BYTES:
            return BLOCK_BYTES
        if op == _ERASE and self._powered():
            self._change(arg * BLOCK_BYTES, b"\xff" * BLOCK_BYTES)
        return 0

    def _change(self, at, after):
        medium = self.medium
        medium.calls += 1
        if medium.calls == medium.cut_at:
            self.state = _CUT
            after = half_done(medium.random, bytes(memoryview(medium.ram)[at : at + len(after)]), after, medium.flavour)
        medium.ram[at : at + len(after)] = after
        if self.state == _CUT:
            raise PowerCut("at operation %d" % medium.calls)


def half_done(random, old, after, flavour):
    """What a cut in the middle of an operation leaves of its bytes."""
    if flavour == "any":
        flavour = ("none", "part", "all", "torn")[random.below(4)]
    if flavour == "none":
        return old
    if flavour == "all":
        return after
    if flavour == "part":
        end = random.below(len(after) + 1)
        return bytes(after[:end]) + old[end:]
    mixed = bytearray(old)
    for i in range(len(mixed)):
        keep = random.below(256)
        mixed[i] = old[i] & keep | after[i] & ~keep & 255
    return mixed


class LittlefsMedium:
    """calls: programs and erases since the power came."""

    flavours = ("none", "part", "all", "torn")
    cuts = PowerCut
    _fresh = None

    def __init__(self, seed):
        self.clock = FakeClock(1000, WALL_MS)
        self.random = Random(seed)
        self.ram = bytearray(b"\xff" * (BLOCKS * BLOCK_BYTES))
        self.calls = self.cut_at = 0
        self.flavour = "none"
        self._armed = 0
        self._files = []
        if LittlefsMedium._fresh is None:
            vfs.VfsLfs2.mkfs(_Device(self), readsize=PROGRAM_BYTES, progsize=PROGRAM_BYTES)
            LittlefsMedium._fresh = bytes(self.ram)
        self.ram[:] = LittlefsMedium._fresh

    def arm(self, call, flavour):
        """The next power_on ends at its `call`-th operation (0: at none); `flavour` of what the cut leaves of it."""
        self._armed, self.flavour = call, flavour

    def power_on(self):
        self.calls, self.cut_at, self._armed = 0, self._armed, 0
        self._device = _Device(self)
        storage.open = self._open
        vfs.mount(vfs.VfsLfs2(self._device, readsize=PROGRAM_BYTES, progsize=PROGRAM_BYTES), MOUNT)
        return storage.FileStorage(MOUNT + "/data")

    def _open(self, path, mode):
        file = open(path, mode)
        self._files.append(file)
        return file

    def power_off(self):
        """Files are closed here, against a device that takes nothing any more: else the garbage collector would, at any time."""
        self._device.state = _OFF
        for file in self._files:
            try:
                file.close()
            except OSError:
                pass
        self._files = []
        try:
            vfs.umount(MOUNT)
        except OSError:
            pass  # the cut came while it was being mounted

    def save(self):
        return bytes(self.ram), self.clock.monotonic

    def load(self, saved, seed):
        self.ram[:] = saved[0]
        self.random = Random(seed)
        self.clock.advance(saved[1] - self.clock.monotonic)
