"""The clock and the randomness of a board.

Rule: monotonic time never goes back and never wraps, though the ticks below it do. Must not know: who asks.
"""

import gc
import os
import time

_WALL_MS_MIN = 1735689600000  # 2025: a clock that says less was never set
_EPOCH_2000_MS = 946684800000


class BoardClock:
    """`monotonic_ms` must be asked at least once per half a period of ticks_ms (6 days at the least): the loop does."""

    def __init__(self):
        self._ticks = time.ticks_ms()
        self._ms = 0
        # Some ports count seconds from 2000.
        self._epoch_ms = _EPOCH_2000_MS if time.gmtime(0)[0] == 2000 else 0

    def monotonic_ms(self):
        ticks = time.ticks_ms()
        self._ms += time.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._ms

    def wall_ms(self):
        """Milliseconds since 1970 UTC; None while nobody has set the clock."""
        if hasattr(time, "time_ns"):
            wall = time.time_ns() // 1000000 + self._epoch_ms
        else:
            wall = int(time.time()) * 1000 + self._epoch_ms
        return wall if wall >= _WALL_MS_MIN else None

    def zone_ms(self, wall_ms):
        return 0  # a board knows no time zones


class BoardMeter:
    """busy_ms: for how long the loop has worked rather than waited; a board has nothing else to do."""

    def __init__(self):
        self.busy_ms = 0

    def cpu_ms(self):
        return self.busy_ms

    def memory_bytes(self):
        return gc.mem_alloc()

    def open_files(self):
        return 0

    def relieve(self):
        gc.collect()

    def buffers_bytes(self, buffer_bytes):
        return 0  # it is in the file already, and not synced yet


class BoardEntropy:
    def fill(self, buf):
        buf[:] = os.urandom(len(buf))
