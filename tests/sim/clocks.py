"""Clocks that lie: they drift, their wall time steps, and some do not know the time at boot.

Rule: monotonic time begins at 0 with each boot and never goes back, whatever the wall does. Must not know: who asks.
"""

WALL_MS = 1700000000000


class SimClock:
    """fleet: gives the true time; offset_ms: of the wall from the true one, None where it is not known; drift: in 1/1000."""

    def __init__(self, fleet, offset_ms, drift):
        self._fleet = fleet
        self.offset_ms = offset_ms
        self._drift = drift
        self._boot_ms = fleet.now_ms

    def monotonic_ms(self):
        return (self._fleet.now_ms - self._boot_ms) * (1000 + self._drift) // 1000

    def wall_ms(self):
        if self.offset_ms is None:
            return None
        return WALL_MS + self._boot_ms + self.offset_ms + self.monotonic_ms()

    def zone_ms(self, wall_ms):
        return 0

    def true_ms(self, monotonic_ms):
        """The first true time at which `monotonic_ms` is reached."""
        rate = 1000 + self._drift
        return self._boot_ms + (monotonic_ms * 1000 + rate - 1) // rate


class SimEntropy:
    """Random bytes from a stream of their own."""

    def __init__(self, random):
        self._random = random

    def fill(self, buf):
        for i in range(len(buf)):
            buf[i] = self._random.below(256)
