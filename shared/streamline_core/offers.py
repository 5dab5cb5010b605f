"""What one side of a session offers to the other: HAVE frames, when each of them is due, and when it is repeated.

Rule: as long as something is not confirmed, HAVE is repeated with jitter and growing waits: a lost frame of any kind wedges nothing. At
rest none leaves. Knows nothing of what the other side does with it.
"""

from . import frames
from .backoff import jitter
from .handshake import HUB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .ports import Entropy
    from .sender import StreamSender

INTERVAL_MS = 1000
INTERVAL_MS_MAX = 15000
HUB_INTERVAL_MS_MAX = 120000  # to a node that does not answer, and of which nobody says that it has gone
UNANSWERED_MAX = 5


class Offers:
    """role: ours, EDGE or HUB; senders: by handle, as the outlet has them. due: those of the next HAVE; number: of the last one;
    unanswered: how many of them there were since a WANT came."""

    def __init__(self, role: int, senders: "dict[int, StreamSender]", entropy: "Entropy") -> None:
        self.due: "list[StreamSender]" = []
        self.number = 0
        self.unanswered = 0
        self._role = role
        self._senders = senders
        self._entropy = entropy
        self._repeat_at_ms = -1
        self._interval_ms = INTERVAL_MS

    def begin(self, session: bytes) -> "bytes | None":
        """Offer all that there is. Returns a HAVE without rows where that is nothing: the other side waits for a first frame."""
        self.due = [sender for sender in self._senders.values() if sender.refused is None]
        self.unanswered += 1
        self._repeat_at_ms = -1
        return None if self.due else self._have(session, ())

    def put_last(self, sender: "StreamSender") -> None:
        """Offer it again, after what else is due."""
        self.due = [other for other in self.due if other is not sender] + [sender]

    def confirmed(self) -> None:
        """The other side confirmed something new: the waits begin anew."""
        self._interval_ms = INTERVAL_MS
        self._repeat_at_ms = -1

    def next_frame(self, session: bytes, frame_bytes_max: int) -> "bytes | None":
        """A HAVE with as many rows as fit; the rest follows in another one. A log that was just opened waits until it is settled: one that
        seems to end before what was told of it is taken for a lost tail, and what it holds is sent to it as if it were new."""
        rows: "list[Any]" = []
        due = [sender for sender in self.due if sender.log.settled]
        if not due:
            return None
        size = 0
        while due and (not rows or size < frame_bytes_max // 2):
            sender = due.pop(0)
            self.due.remove(sender)
            sender.offered()
            log, stream = sender.log, sender.log.stream
            row = (
                sender.handle, log.first, log.durable, max(sender.sent, log.acked) if sender.wanted else 0,
                stream.topic, stream.partition, stream.origin, stream.epoch,
                log.definition, sender.lineage(), log.epochs_held, log.sealed and not log.forking,
            )  # fmt: skip
            rows.append(row)
            size += 96 + 14 * len(row[9]) + 6 * len(row[10] or ()) + len(row[4]) + len(row[6])
        return self._have(session, rows)

    def _have(self, session: bytes, rows: "Any") -> bytes:
        self.number += 1
        return frames.encode(frames.HAVE, session, (self.number, rows))

    def tick(self, now_ms: int) -> "int | None":
        """Repeat what may have been lost. Returns when to come again (monotonic ms), -1 if there is nothing to wait for; None where nobody
        has answered for so long that the session is over."""
        if not any([sender.pending for sender in self._senders.values()]):
            self.confirmed()
            self.unanswered = 0
            return -1
        if self._repeat_at_ms >= 0:
            if now_ms < self._repeat_at_ms:
                return self._repeat_at_ms
            # A hub goes on: who only listens would never learn that his session has ended.
            if self.unanswered >= UNANSWERED_MAX and self._role != HUB:
                return None
            waiting = self.due
            self.due = [sender for sender in self._senders.values() if sender.pending or sender in waiting]
            self.unanswered += 1
            self._interval_ms = min(self._interval_ms * 2, HUB_INTERVAL_MS_MAX if self._role == HUB else INTERVAL_MS_MAX)
        half_ms = self._interval_ms // 2
        self._repeat_at_ms = now_ms + half_ms + jitter(self._entropy, half_ms)
        return self._repeat_at_ms
