"""Gaps: offsets that are gone, and why. One path for every loss.

Rule: gaps are kept sorted, do not overlap, and neighbours of one cause are one gap. A gap is what the ledger, the session
and the readers see; nothing else may make a record disappear. Causes are words of the protocol (docs/PROTOCOL.md).
"""

EVICTED = "evicted"  # pushed out by a limit before the cloud had it
EXPIRED = "expired"  # its time to live was over
CORRUPT = "corrupt"  # its bytes rotted
TORN = "torn"  # cut off by a power loss while being written: accepted, but never reported durable
STORAGE = "storage"  # the disk that held it is gone
REFUSED = "refused"  # the receiver can never apply it
TOO_LARGE = "too large"  # does not fit the receiver's frame
ROLLED_BACK = "rolled back"  # delivered once, forgotten by a restored receiver, no longer held here
CAUSES = (EVICTED, EXPIRED, CORRUPT, TORN, STORAGE, REFUSED, TOO_LARGE, ROLLED_BACK)

TYPE_CHECKING = False
if TYPE_CHECKING:
    Gap = tuple[int, int, str]


class Gaps:
    """[(first, next, cause)], rising."""

    def __init__(self) -> None:
        self.rows: "list[Gap]" = []

    def add(self, first: int, next_: int, cause: str) -> None:
        """Note that [first, next) is gone. What was known as gone before keeps its cause."""
        rows = self.rows
        if not rows or first >= rows[-1][1]:  # mostly: a walk goes forward
            if first < next_:
                if rows and rows[-1][1:] == (first, cause):
                    rows, first = rows[:-1], rows[-1][0]
                self.rows = rows + [(first, next_, cause)]  # a new list: who looks for changes compares them
            return
        fresh: "list[Gap]" = []
        at = first
        for row in rows:
            if row[1] <= at or row[0] >= next_:
                continue
            if row[0] > at:
                fresh.append((at, row[0], cause))
            at = row[1]
        if at < next_:
            fresh.append((at, next_, cause))
        merged: "list[Gap]" = []
        for row in sorted(rows + fresh):
            if merged and merged[-1][1] == row[0] and merged[-1][2] == row[2]:
                merged[-1] = (merged[-1][0], row[1], row[2])
            else:
                merged.append(row)
        self.rows = merged

    def at(self, offset: int) -> "Gap | None":
        """The gap that holds `offset`, if one does."""
        low, high = 0, len(self.rows)
        while low < high:  # the first that ends beyond `offset`
            middle = (low + high) // 2
            if self.rows[middle][1] <= offset:
                low = middle + 1
            else:
                high = middle
        if low < len(self.rows) and self.rows[low][0] <= offset:
            return self.rows[low]
        return None

    def lost_from(self, offset: int, end: int) -> "dict[str, int]":
        """Offsets lost in [offset, end), by cause."""
        lost: "dict[str, int]" = {}
        for first, next_, cause in self.rows:
            n = min(next_, end) - max(first, offset)
            if n > 0:
                lost[cause] = lost.get(cause, 0) + n
        return lost

    def forget_above(self, offset: int) -> None:
        """Drop what lies at or above `offset`: it was moved elsewhere."""
        self.rows = [(row[0], min(row[1], offset), row[2]) for row in self.rows if row[0] < offset]

    def forget_below(self, offset: int) -> None:
        """Drop the gaps that lie wholly below `offset`: the other side has accounted for them."""
        self.rows = [row for row in self.rows if row[1] > offset]
