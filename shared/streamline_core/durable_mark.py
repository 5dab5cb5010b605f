"""The durable mark: how far what was written has been synced.

Rule: syncs of different files may end in any order; the mark only moves past what is synced without a hole below it. What
an idempotent producer stored counts for good only when the mark has passed it. Knows nothing of files or batches.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .producers import Producers


class DurableMark:
    """offset: below it all is synced. asked: below it all is synced or a sync of it is under way. unsynced_bytes: written
    above the mark."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.asked = offset
        self.unsynced_bytes = 0
        self._unasked_bytes = 0
        self._syncs: "list[list[int]]" = []  # [ticket (0: done), what is durable then, bytes], in the order of writing
        self._stored: "list[tuple[int, int, int, int]]" = []  # (producer, sequence, offset, count) above the mark

    def restart(self, offset: int, asked: int) -> None:
        """A walk has found what is there: safe below `offset`, with syncs to come up to `asked`. What it met of producers stays noted."""
        self.offset, self.asked = offset, asked

    def wrote(self, size: int) -> None:
        """`size` bytes were handed to the storage."""
        self.unsynced_bytes += size
        self._unasked_bytes += size

    def stored(self, producer: int, sequence: int, offset: int, count: int) -> None:
        """A batch of an idempotent producer was written."""
        self._stored.append((producer, sequence, offset, count))

    def forget_last(self) -> None:
        """What `stored` was told last was not written after all."""
        self._stored.pop()

    def asked_for(self, ticket: int, upto: int) -> None:
        """A sync is under way, after which all below `upto` is durable. Ticket 0: nothing needs to be synced."""
        self._syncs.append([ticket, upto, self._unasked_bytes])
        self.asked = upto
        self._unasked_bytes = 0

    @property
    def waiting(self) -> bool:
        """Whether anything is asked for and not yet taken up."""
        return len(self._syncs) > 0

    @property
    def reached(self) -> int:
        """Where `advance` would move the mark."""
        offset = self.offset
        for row in self._syncs:
            if row[0]:
                break
            offset = row[1]
        return offset

    def owns(self, ticket: int) -> bool:
        return any([row[0] == ticket for row in self._syncs])

    def done(self, ticket: int) -> None:
        """A sync has ended well; `advance` takes it up."""
        for row in self._syncs:
            if row[0] == ticket:
                row[0] = 0

    def advance(self, producers: "Producers") -> None:
        """Move the mark past what is done without a hole, and note what producers have durably stored by it."""
        while self._syncs and not self._syncs[0][0]:
            row = self._syncs.pop(0)
            self.offset = row[1]
            self.unsynced_bytes -= row[2]
        n = 0
        while n < len(self._stored) and self._stored[n][2] < self.offset:
            producers.note(*self._stored[n])
            n += 1
        del self._stored[:n]
