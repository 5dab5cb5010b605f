"""The hybrid logical clock: 48 bits of milliseconds and 16 of counter, never behind what this node has written, nor behind what it has seen
of the key that it writes.

Rule: a stamp, once given, is never rewritten; it carries whether the clock could be trusted when it was given. The counter
carries into the milliseconds. Source: Kulkarni et al., "Logical Physical Clocks" (2014). Knows nothing of logs or sessions.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ports import Clock

DRIFT_MS_MAX = 60000
HLC_MAX = 1 << 63  # the year 6429: a stamp beyond it is none, and following it would leave no room for the next
WALL_MS_MAX = HLC_MAX >> 16


class HybridClock:
    """`clock`: the port. Trusted as soon as the port has a wall clock, or a hub has told the time (`learn`)."""

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self._last = 0
        self._learned_ms: "int | None" = None  # wall clock minus monotonic clock
        self._boot_ms = 0  # where untrusted stamps of this opening begin
        self.monotonic_ms = clock.monotonic_ms

    @property
    def trusted(self) -> bool:
        return self._learned_ms is not None or self._clock.wall_ms() is not None

    def wall_ms(self) -> "int | None":
        """Milliseconds since 1970 UTC, or None as long as nobody knows."""
        wall = self._clock.wall_ms()
        if wall is None and self._learned_ms is not None:
            return self._clock.monotonic_ms() + self._learned_ms
        return wall

    def local_ms(self) -> "int | None":
        """As `wall_ms`, in local time."""
        wall = self.wall_ms()
        return wall + self._clock.zone_ms(wall) if wall is not None else None

    def now_ms(self) -> int:
        """The time that the next stamp would have, in milliseconds."""
        wall = self.wall_ms()
        return max(self._last >> 16, wall if wall is not None else self._boot_ms + self._clock.monotonic_ms())

    def stamp(self) -> int:
        """The next hlc: larger than all before it."""
        wall = self.wall_ms()
        if wall is None:
            wall = self._boot_ms + self._clock.monotonic_ms()
        self._last = max(wall << 16, self._last + 1)
        return self._last

    def resume(self, hlc: int) -> None:
        """Never stamp at or below `hlc`, which this node wrote. One of an earlier opening also moves where untrusted stamps begin."""
        if self._last < hlc < HLC_MAX:  # not one of this opening, met again by a log that was opened again
            self._last = hlc
            self._boot_ms = max(self._boot_ms, hlc >> 16)

    def observe(self, hlc: int) -> bool:
        """Follow a remote stamp, so that what is written next is later; refused (False) where it is more than DRIFT_MS_MAX ahead, and as
        long as nobody knows the time here: then stamps count from a start of their own, which `learn` measures."""
        wall = self.wall_ms()
        if wall is None or (hlc >> 16) > wall + DRIFT_MS_MAX:
            return False
        self._last = max(self._last, hlc)
        return True

    def learn(self, wall_ms: int) -> "int | None":
        """A hub told the time. Returns how much later it is than untrusted stamps said, in ms; None if it was known already."""
        if self.trusted:
            return None
        now_ms = self._clock.monotonic_ms()
        self._learned_ms = wall_ms - now_ms
        return wall_ms - (self._boot_ms + now_ms)
