"""What a node may store, and what is given back when that is too much.

Rule: what nobody is owed goes first, the oldest of it; then, of what the cloud has not, what the policy names, and each such loss is a gap.
A segment that is being written goes where nothing else can; what is not durable never does, and who brings more has to wait for it. Knows
nothing of sessions, or of how a log gives back a segment.
"""

from .batch import HEADER_BYTES, parse_header
from .gaps import EVICTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log
    from .log_limits import StorageBudget
    from .node import Node
    from .partition import Partition

RESERVE_SEGMENTS = 2  # kept free, so that gaps and cursors can always be written
REJECT, PRIORITY, LRU = "reject", "priority", "lru"  # policies; there is "oldest", too


class Evictor:
    """node: whose; budget: what its logs may write before stock is taken again. stored_bytes: as of the last time; evicted_bytes: in this
    life of the process."""

    def __init__(self, node: "Node", budget: "StorageBudget") -> None:
        self.budget = budget
        self.stored_bytes = 0
        self.evicted_bytes = 0
        self.reserve_bytes = 0  # kept free below the limit
        self._node = node
        self._limits = node.config.resources
        self.held = False  # whether something that could go is kept for a reader of this node
        self.left = 0  # what the limit leaves beside what is stored; what waits for the storage may leave less for now
        self.kept = True  # whether the storage limit was, when stock was last taken
        self.wanted = 0  # bytes that had no room, the last time that somebody was made to wait
        self._most = 0  # bytes of logs that may be there at any moment; what is left below the cap is for gaps and cursors
        self._there = 0  # bytes that are or will be on the storage, those included that are being given back
        self._under_way = False  # whether some of them wait for the storage
        self._oldest: "dict[str, tuple[int, int]]" = {}  # by log: (first offset held, the stamp there)

    @property
    def rejects(self) -> bool:
        """Whether what is new has to wait where storage is full."""
        return self.held or self._limits.eviction_policy == REJECT

    def room(self, size: int) -> bool:
        """Whether the limits let so many bytes more be stored."""
        if self.budget.left <= size or not self.kept:
            return self.take_stock(size) and self.left >= size
        return True

    def waits(self, size: int) -> bool:
        """Whether so many bytes more have no room before the storage has done what it was asked; as of the last time stock was taken."""
        return self._under_way and self._limits.max_storage > 0 and self._there + size > self._most

    @property
    def catching_up(self) -> bool:
        """Whether what was last made to wait has to wait still, and that is of use."""
        return self.wanted <= self._most // 2 and self.waits(self.wanted)

    def take_stock(self, wanted: int = 0, owed_too: bool = False) -> bool:
        """Look at what is stored, and give back what the limit demands; for `wanted` bytes more, only what nobody is owed goes (owed_too:
        also the rest). Returns whether the limit is kept."""
        node, stored = self._node, 0
        logs = node.partitions.every_log()
        for log in logs:
            stored += log.segments.total_bytes
        limit = self._storage_limit(stored)
        self.held = False
        if wanted > limit:
            wanted = 0  # nothing would be enough
        while stored + wanted > limit:
            freed = self._evict(stored > limit or owed_too)
            if not freed:
                break
            self.evicted_bytes += freed
            stored -= freed
        self.stored_bytes = stored
        self.kept = kept = stored <= limit
        self._most = self._limits.max_storage - self.reserve_bytes // 4
        self._there, self._under_way = stored, False
        for log in logs:
            self._there += log.unwritten_bytes + log.segments.removing_bytes
            self._under_way = self._under_way or log.buffered_bytes > 0 or log.segments.removing_bytes > 0
        self.left = max(0, limit - stored)
        if kept:
            self.budget.left = self.left
        else:  # what is stored is not durable yet, and cannot go: a look for each batch is enough
            self.budget.left = 0 if self.rejects else node.config.log.batch_bytes
        if self._under_way and self._limits.max_storage:  # a batch may gather before anybody looks again
            self.budget.left = max(0, min(self.budget.left, self._most - self._there - node.config.log.batch_bytes))
        return kept

    def _storage_limit(self, stored: int) -> int:
        """What may be stored before something must go: a reserve below the cap, and below what the disk has."""
        room = stored + self._node.storage.free_bytes()
        if self._limits.max_storage:
            room = min(room, self._limits.max_storage)
        self.reserve_bytes = min(room // 8, RESERVE_SEGMENTS * self._node.config.log.segment_bytes)
        return room - self.reserve_bytes

    def _evict(self, owed_too: bool) -> int:
        """Give back one segment. Returns its bytes; 0: nothing can go."""
        best = None
        for partition in self._node.partitions.every():
            for log in partition.logs():
                if not log.segments.bases:
                    continue
                end = log.segment_end(0)
                owed = not partition.local and end > log.state.acked
                if owed and (not owed_too or self._limits.eviction_policy == REJECT):
                    continue
                if 0 <= log.kept_from < end <= log.durable and not log.keyed:
                    self.held = True
                if log.can_evict or log.can_end:
                    rank = (not log.can_evict, owed, self._worth(partition, log) if owed else 0, self._age(log), log.folder)
                    if best is None or rank < best[0]:
                        best = (rank, log)
        if best is None:
            return 0
        if not best[1].can_evict:
            best[1].segments.close_head()
        return best[1].evict_oldest(EVICTED)

    def _worth(self, partition: "Partition", log: "Log") -> int:
        """Of what is owed: less goes before more. By `oldest` all is worth the same."""
        if self._limits.eviction_policy == PRIORITY:
            return (self._limits.topic_priorities or {}).get(partition.topic, self._node.topics[partition.topic].priority)
        return log.used_ms if self._limits.eviction_policy == LRU else 0

    def _age(self, log: "Log") -> int:
        """The stamp of the oldest that a log holds: smaller is older; 0 where it cannot be read."""
        known = self._oldest.get(log.folder)
        if known is None or known[0] != log.first:
            head = bytearray(HEADER_BYTES)
            try:
                n = log.storage.read_into(log.segments.name_of(log.first), 0, head)
            except OSError:
                return 0
            header = parse_header(memoryview(head)[:n])
            known = self._oldest[log.folder] = log.first, header.hlc if header is not None else 0
        return known[1]
