"""The gate: whether a node may sync now, by its windows and by a condition that its shell looks at.

Rule: both have to allow it. Where nobody knows the time, windows are open: the hub may tell it. A condition that was not looked at yet does
not hold. Knows nothing of links, files or commands.
"""

from .sync_windows import next_change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import SyncConfig
    from .hlc import HybridClock

LOOK_MS_MAX = 60000  # a wall clock may be set, and summer time begins


class Gate:
    """open: whether it is. why: what keeps it shut."""

    def __init__(self, config: "SyncConfig", clock: "HybridClock") -> None:
        self.open = False
        self.why = ""
        self._config = config
        self._clock = clock
        self._holds = False

    def condition(self, holds: bool) -> None:
        """What the shell found, when it looked at `sync.condition`."""
        self._holds = holds

    def tick(self, now_ms: int) -> int:
        """Look. Returns when to come again (monotonic ms)."""
        config, local_ms = self._config, self._clock.local_ms()
        in_window, change_ms = (True, 0) if local_ms is None else next_change(config.windows, local_ms)
        holds = self._holds or config.condition is None
        self.open = in_window and holds
        if not in_window:
            self.why = "outside of sync.windows for %d minutes more" % (-(-change_ms // 60000))
        else:
            self.why = "" if holds else "sync.condition does not hold: %s" % config.condition
        return now_ms + min(change_ms or LOOK_MS_MAX, LOOK_MS_MAX)
