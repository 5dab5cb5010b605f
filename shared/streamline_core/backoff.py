"""When to try again: exponential with full jitter, reset only by a link that stayed up.

Rule: a fleet that lost its broker must not come back as one. Source: Brooker, "Exponential Backoff and Jitter" (2015).
"""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ports import Entropy

STABLE_MS = 30000


def jitter(entropy: "Entropy", bound_ms: int) -> int:
    """A random wait from 0 to `bound_ms`, both included."""
    buf = bytearray(4)
    entropy.fill(buf)
    n: int = struct.unpack("<I", buf)[0]
    return n % (bound_ms + 1)


class Backoff:
    """initial_ms, max_ms: the bound of the first wait and of the longest."""

    def __init__(self, entropy: "Entropy", initial_ms: int, max_ms: int) -> None:
        self._entropy = entropy
        self._initial_ms = initial_ms
        self._max_ms = max_ms
        self._bound_ms = initial_ms
        self._up_ms = -1

    def change(self, initial_ms: int, max_ms: int) -> None:
        """Other bounds, from the next wait on."""
        self._initial_ms, self._max_ms = initial_ms, max_ms
        self._bound_ms = min(max(self._bound_ms, initial_ms), max_ms)

    def wait_ms(self) -> int:
        """How long to wait before the next try."""
        bound_ms = self._bound_ms
        self._bound_ms = min(self._max_ms, bound_ms * 2)
        return jitter(self._entropy, bound_ms)

    def up(self, now_ms: int) -> None:
        """The link works."""
        if self._up_ms < 0:
            self._up_ms = now_ms

    def down(self, now_ms: int) -> None:
        """The link is gone: start small again if it had been stable."""
        if self._up_ms >= 0 and now_ms - self._up_ms >= STABLE_MS:
            self._bound_ms = self._initial_ms
        self._up_ms = -1
