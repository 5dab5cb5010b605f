"""The clock and the entropy of a host.

Rule: a host's wall clock is believed only when it shows a year in which this program existed: a Pi without a battery
boots in 1970.
"""

import os
import time

WALL_MS_MIN = 1_735_689_600_000
"""2025-01-01: an earlier wall clock was set by nobody."""


class SystemClock:
    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int | None:
        now_ms = time.time_ns() // 1_000_000
        return now_ms if now_ms >= WALL_MS_MIN else None

    def zone_ms(self, wall_ms: int) -> int:
        return time.localtime(wall_ms / 1000).tm_gmtoff * 1000


class SystemEntropy:
    def fill(self, buf: bytearray) -> None:
        buf[:] = os.urandom(len(buf))
