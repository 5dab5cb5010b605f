"""Whose turn it is on the link: what is fresh and what had gathered share it by percent, and in each of the two topics by priority.

Rule: what may be taken is divided by weight, by stride scheduling (Waldspurger and Weihl, 1995), so that nobody starves; who had nothing to
send has saved nothing up. Knows nothing of frames or of what is sent.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .sender import StreamSender

FRESH, BACKLOG = 0, 1  # lanes
NOTHING, URGENT, ALL = 0, 1, 2  # what may leave
WEIGHT_MAX = 10  # of a topic's priority
PASSES_MAX = 1 << 28  # a board's small integers end at 1 << 30


class Schedule:
    """backlog_percent: 1 to 99, of the link, for what had gathered before it came. Each lane, and in it each sender, has a pass, which
    grows by what was served and the less the larger its weight is: the smallest has its turn."""

    def __init__(self, backlog_percent: int = 50) -> None:
        self._weights = (100 - backlog_percent, backlog_percent)
        self._passes = [0, 0]  # of each lane
        self._waiting = [False, False]  # whether anybody in it was ready when it was last asked
        self._now = [0, 0]  # of each lane: the pass of who was served last

    def next(self, senders: "dict[int, StreamSender]", allowed: int, tried: "Sequence[StreamSender]" = ()) -> "StreamSender | None":
        """Who may send now, of those that are ready and were not tried; None if nobody. senders: by handles 0, 1, …; allowed: URGENT or
        ALL."""
        fresh = backlog = None
        for handle in range(len(senders)):
            sender = senders[handle]
            if not (allowed == ALL or sender.urgent) or not sender.ready or sender in tried:
                sender.waiting = False
                continue
            lane = sender.lane
            if not sender.waiting:
                sender.waiting = True
                sender.passes = max(sender.passes, self._now[lane])
            if lane == FRESH:
                if fresh is None or sender.passes < fresh.passes:
                    fresh = sender
            elif backlog is None or sender.passes < backlog.passes:
                backlog = sender
        self._came(FRESH, fresh is not None)
        self._came(BACKLOG, backlog is not None)
        if fresh is None or (backlog is not None and self._passes[BACKLOG] < self._passes[FRESH]):
            return backlog
        return fresh

    def _came(self, lane: int, waits: bool) -> None:
        if waits and not self._waiting[lane]:
            self._passes[lane] = max(self._passes[lane], self._passes[1 - lane])
        self._waiting[lane] = waits

    def served(self, sender: "StreamSender", lane: int, size: int, senders: "dict[int, StreamSender]") -> None:
        """`size` bytes of it are leaving; lane: the one in which it was served."""
        self._now[lane] = sender.passes
        sender.passes += size * WEIGHT_MAX // sender.weight
        self._passes[lane] += size * 50 // self._weights[lane]
        if sender.passes > PASSES_MAX or self._passes[lane] > PASSES_MAX:
            now = self._now[lane]
            for handle in range(len(senders)):
                senders[handle].passes = max(0, senders[handle].passes - now)
            self._now[FRESH] = self._now[BACKLOG] = 0
            least = min(self._passes)
            self._passes = [passed - least for passed in self._passes]
