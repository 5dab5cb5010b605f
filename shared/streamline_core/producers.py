"""Idempotent producers: who has stored what, so that a repeat is answered and not stored.

Rule: a producer's sequence only rises within one stream; at or below the last one is a repeat. At most `bound` producers
are remembered; anonymous ones are forgotten first, then the one that stored nothing for longest. Knows nothing of files:
the log rebuilds it from batch headers.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

UNKNOWN_OFFSET = -1
ANONYMOUS = 1 << 62  # this bit of an id: nobody will come back under it, so it is the first to be forgotten


class Producers:
    def __init__(self, bound: int) -> None:
        self._bound = bound
        # id -> [first sequence of its last run, offset of that, length of the run, when last used]
        self._runs: "dict[int, list[int]]" = {}
        self._uses = 0

    def last(self, producer: int) -> int:
        """The last sequence stored for a producer; -1 if it is not known."""
        run = self._runs.get(producer)
        return run[0] + run[2] - 1 if run else -1

    def expect(self, producer: int, sequence: int, offset: int) -> None:
        """Make room for a producer who is not known yet: `note` then allocates nothing, so that what it tells of is never half done."""
        if producer not in self._runs:
            self.note(producer, sequence, offset, 0)

    def note(self, producer: int, sequence: int, offset: int, count: int) -> None:
        """`count` records from `sequence` on were stored from `offset` on. What is not news (a log is walked again) changes nothing."""
        self._uses += 1
        run = self._runs.get(producer)
        if run is not None and sequence + count <= run[0] + run[2]:
            run[3] = self._uses
            return
        if run is None:
            if len(self._runs) >= self._bound:
                oldest = min((not p & ANONYMOUS, r[3], p) for p, r in self._runs.items())
                del self._runs[oldest[2]]
            self._runs[producer] = [sequence, offset, count, self._uses]
            return
        run[3] = self._uses
        if run[0] + run[2] == sequence and run[1] + run[2] == offset:
            run[2] += count
        else:
            run[0], run[1], run[2] = sequence, offset, count

    def offset_of(self, producer: int, sequence: int) -> int:
        """Where a repeated sequence was stored, or UNKNOWN_OFFSET if that lies before the producer's last unbroken run."""
        run = self._runs.get(producer)
        if run and run[0] <= sequence < run[0] + run[2]:
            return run[1] + sequence - run[0]
        return UNKNOWN_OFFSET

    def to_wire(self) -> "list[list[int]]":
        """[[id, sequence, offset, count]], the one that stored nothing for longest first."""
        rows = [(run[3], producer, run[0], run[1], run[2]) for producer, run in self._runs.items()]
        rows.sort()
        return [[row[1], row[2], row[3], row[4]] for row in rows]

    def load(self, rows: "Sequence[Sequence[int]]") -> None:
        """Take up what `to_wire` gave."""
        for producer, sequence, offset, count in rows:
            self.note(producer, sequence, offset, count)
