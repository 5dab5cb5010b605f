"""Pacing: how fast frames may leave, under a limit of bytes a second and under one of the processor's time.

Rule: both are token buckets that may go into debt by one frame, and that save up little, so that the limit holds over any seconds. Who is
in debt to the processor for the work of others goes on all the same, slowly. Knows nothing of what frames hold.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

SAVED_CPU_MS_MAX = 100
CPU_WAIT_MS_MAX = 1000


class Pacing:
    """bandwidth_limit: bytes/s, 0: none; cpu_percent: of one core, 0: no limit; cpu_ms: how long this process has used the processor, in
    ms, or None where nobody can tell."""

    def __init__(self, bandwidth_limit: int, cpu_percent: int, cpu_ms: "Callable[[], int] | None", now_ms: int) -> None:
        self.bandwidth_limit = bandwidth_limit
        self.cpu_percent = cpu_percent if cpu_ms is not None else 0
        self.waits_for_cpu = False
        self._cpu_ms = cpu_ms
        self._tokens = 0
        self._tokens_ms = now_ms
        self._thousandths = 0  # of a byte, earned and not counted yet
        self._cpu_left_us = 0
        self._cpu_seen_ms = cpu_ms() if cpu_ms is not None else 0
        self._cpu_looked_ms = self._let_go_ms = now_ms

    def spent(self, size: int) -> None:
        """`size` bytes were handed to the link."""
        if self.bandwidth_limit:
            self._tokens -= size

    def wait_ms(self, now_ms: int) -> int:
        """How long no data may leave; 0: some may."""
        if not self.bandwidth_limit:
            return 0
        passed = (now_ms - self._tokens_ms) * self.bandwidth_limit + self._thousandths
        earned = passed // 1000
        if earned > 0:
            self._tokens = min(self._tokens + earned, self.bandwidth_limit // 4)
            self._tokens_ms, self._thousandths = now_ms, passed % 1000
        return 0 if self._tokens >= 0 else 1 - self._tokens * 1000 // self.bandwidth_limit

    def cpu_wait_ms(self, now_ms: int) -> int:
        """How long nothing may be done for the link; 0: it may."""
        percent = self.cpu_percent
        if not percent or self._cpu_ms is None:
            return 0
        used_ms = self._cpu_ms()
        earned_us = (now_ms - self._cpu_looked_ms) * percent * 10 - (used_ms - self._cpu_seen_ms) * 1000
        self._cpu_left_us = max(-CPU_WAIT_MS_MAX * percent * 10, min(SAVED_CPU_MS_MAX * 1000, self._cpu_left_us + earned_us))
        self._cpu_seen_ms, self._cpu_looked_ms = used_ms, now_ms
        if self._cpu_left_us < 0 and now_ms - self._let_go_ms >= CPU_WAIT_MS_MAX:
            self._cpu_left_us = 0
        self.waits_for_cpu = self._cpu_left_us < 0
        if self.waits_for_cpu:
            return 1 - self._cpu_left_us // (percent * 10)
        self._let_go_ms = now_ms
        return 0
