"""A SimDisk as something whose power can be cut, kept and taken up again.

Rule: one clock, which goes on whatever happens; a life sees only what the cut before it left. Must not know: who works on it.
"""

from disk import KEEP, PowerCut, SimDisk
from harness import FakeClock, Random

WALL_MS = 1700000000000
LATENCY_MS = 3  # syncs of different files end in another order than they were asked


class MemoryMedium:
    """calls: that changed something, since the power came."""

    flavours = KEEP
    cuts = PowerCut

    def __init__(self, seed):
        self.clock = FakeClock(1000, WALL_MS)
        self.disk = SimDisk(Random(seed), self.clock.monotonic_ms, None, LATENCY_MS)
        self._flavour = "none"
        self._cut_at = 0
        self._since = 0

    def arm(self, call, flavour):
        """The next power_on ends at its `call`-th call (0: at none); `flavour` of what the cut leaves."""
        self._cut_at, self._flavour = call, flavour

    @property
    def calls(self):
        return self.disk.calls - self._since

    def power_on(self):
        self._since = self.disk.calls
        self.disk.cut_at = self.disk.calls + self._cut_at if self._cut_at else 0
        self._cut_at = 0
        return self.disk

    def power_off(self):
        self.disk.power_cut(self._flavour)

    def save(self):
        """What is there while the power is off."""
        return self.disk.image(), self.clock.monotonic

    def load(self, saved, seed):
        self.disk.restore(saved[0])
        self.disk.random = Random(seed)
        self.clock.advance(saved[1] - self.clock.monotonic)
