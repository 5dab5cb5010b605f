"""Credit: how many bytes a receiver allows to be under way to it, granted to all its streams from one pool.

Rule: the sum of what is granted never exceeds the pool. A stream starts with one frame, doubles while it uses what it
has, halves on loss, and gives all back when idle; so a fleet that reconnects does not collapse the broker. A sender that
still holds what was taken back gets it again from the pool, or its frames are dropped and asked for again.
"""

WINDOW_BYTES_MIN = 65536
WINDOW_BYTES_MAX = 8 << 20


class CreditPool:
    """total: bytes that may be granted."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.granted = 0
        self.short = False  # whether somebody got less than he asked for, since its owner last looked

    def take(self, wanted: int, least: int = 0) -> int:
        """As much of `wanted` as there is; nothing where that is less than `least`: a splinter lets a frame go that cannot be taken."""
        n = max(0, min(wanted, self.total - self.granted))
        if n < least:
            n = 0
        self.granted += n
        if n < wanted:
            self.short = True
        return n

    def give(self, n: int) -> None:
        self.granted -= n


class Window:
    """What one stream is granted. `size`: bytes."""

    def __init__(self, pool: CreditPool) -> None:
        self._pool = pool
        self.size = 0

    def _reach(self, size: int) -> None:
        """Be of this size at least, or stay as it is."""
        size = max(size, min(WINDOW_BYTES_MIN, self._pool.total))
        if size > self.size:
            self.size += self._pool.take(size - self.size, size - self.size)

    def open(self) -> int:
        """At least one frame, if the pool has it; returns the size."""
        self._reach(0)
        return self.size

    def covers(self, n: int) -> bool:
        """Whether `n` bytes may be under way; takes from the pool what is missing, if it is there. A frame may overshoot what is granted by
        less than one largest raw frame."""
        if n > self.size:
            self._reach(n)
        return n <= self.size

    def grow(self) -> None:
        """The stream made use of all it had, and nothing was lost."""
        self.size += self._pool.take(min(self.size, WINDOW_BYTES_MAX - self.size))

    def shrink(self) -> None:
        """Something was lost."""
        keep = max(min(self.size, WINDOW_BYTES_MIN), self.size // 2)
        self._pool.give(self.size - keep)
        self.size = keep

    def close(self) -> None:
        """Give everything back."""
        self._pool.give(self.size)
        self.size = 0
