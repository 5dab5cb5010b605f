"""What waits for the hub's store: ops, in order, one transaction at a time.

Rule: what a transaction was refused for want of a disk is tried again, in the same order, before all else. Knows nothing of what an op
means, nor of who waits for it.
"""

from .errors import UsageError
from .store_ops import ChunkReceived

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .ports import Store
    from .store_ops import Op

COMMIT_BYTES_MAX = 8 << 20  # of one transaction, so that a slow disk still confirms in steps
COMMIT_RETRY_MS = 1000
OPS_MAX = 65536  # that wait; beyond it the store is behind


class CommitQueue:
    """waiting, under_way: ops, in order. commits, errors: how many transactions went well, and how many did not."""

    def __init__(self, store: "Store") -> None:
        self.waiting: "list[Op]" = []
        self.under_way: "list[Op]" = []
        self.commits = 0
        self.errors = 0
        self._store = store
        self._ticket = 0
        self._retry_at_ms = -1

    def add(self, ops: "Sequence[Op]") -> None:
        self.waiting.extend(ops)

    @property
    def idle(self) -> bool:
        return not self._ticket and not self.waiting

    @property
    def is_behind(self) -> bool:
        return len(self.waiting) > OPS_MAX

    def tick(self, now_ms: int) -> int:
        """Begin a transaction, if one is due. Returns when to come again (monotonic ms), -1 for never."""
        if not self.waiting or self._ticket:
            return -1
        if now_ms < self._retry_at_ms:
            return self._retry_at_ms
        size = n = 0
        for op in self.waiting:
            size += len(op.data) if isinstance(op, ChunkReceived) else 64
            n += 1
            if size >= COMMIT_BYTES_MAX:
                break
        self.under_way, self.waiting = self.waiting[:n], self.waiting[n:]
        self._ticket = self._store.commit(self.under_way)
        return -1

    def completed(self, ticket: int, error: "Exception | None", now_ms: int) -> "list[Op] | None":
        """The ops that the store has committed; none where it could not just now; None where it refused them for what they say: no later
        try will fare better."""
        if ticket != self._ticket:
            return []
        self._ticket = 0
        ops, self.under_way = self.under_way, []
        if error is None:
            self.commits += 1
            return ops
        self.errors += 1
        if isinstance(error, (UsageError, ValueError, TypeError, ArithmeticError)):
            return None
        self.waiting = ops + self.waiting
        self._retry_at_ms = now_ms + COMMIT_RETRY_MS
        return []

    def forget(self) -> None:
        """Nothing of what waits will be committed."""
        self.waiting = []
