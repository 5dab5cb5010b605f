"""The limits of a node: memory, storage, processor, open files, connections; what is used of each, and what more of it may be.

Rule: what can be measured is measured, never estimated; a limit that this node cannot keep is refused with what it needs. Storage is kept
by giving back (eviction.py), the processor by waiting (pacing.py); of the others there is no more where there would be too much.
"""

from .config import buffer_bytes
from .errors import StorageFull, StreamlineError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .eviction import Evictor
    from .node import Node
    from .ports import Meter

MEMORY, STORAGE, CPU, FILES, CONNECTIONS = "memory", "storage", "cpu", "files", "connections"
KINDS = (MEMORY, STORAGE, CPU, FILES, CONNECTIONS)
KEYS = {
    MEMORY: "max_memory",
    STORAGE: "max_storage",
    CPU: "max_cpu_percent",
    FILES: "max_file_descriptors",
    CONNECTIONS: "max_connections",
}
SAMPLE_MS = 100  # memory and files: how old what was measured may be
CPU_SAMPLE_MS = 5000
FILES_NEEDED = 16  # beyond those that are open when it starts
MEMORY_NEEDED_PERCENT = 110  # of what is used when it starts, and its buffers


class LimitReached(StreamlineError):
    """No more of a resource may be allocated. kind: one of KINDS."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class ResourceManager:
    """node: whose; meter: what measures, or None: then memory, processor and files have no limits. evictor: what keeps storage."""

    def __init__(self, node: "Node", meter: "Meter | None", evictor: "Evictor") -> None:
        self.evictor = evictor
        self.connections = 0
        self.elsewhere: "Callable[[], int] | None" = None  # connections that others count
        self.files_kept: "Callable[[], int] | None" = None  # files that nobody else may open
        self.memory_full = False
        self._node = node
        self._limits = node.config.resources
        self._meter = meter
        self._now = node.clock.monotonic_ms
        self._sampled_ms = -SAMPLE_MS
        self._memory = self._files = 0
        self._reserved = 0  # bytes of memory that were allocated and not released
        self._files_more = 0  # allocated since they were counted
        self._rest = 0  # bytes of memory that the node has at rest, and its buffers
        self._cpu_percent = 0
        self._cpu_ms = meter.cpu_ms() if meter is not None else 0
        self._cpu_sampled_ms = self._now()
        self.needed = {STORAGE: 2 * node.config.log.segment_bytes}  # the least that a limit may be

    def opened(self) -> None:
        """All is open that the node has at rest. Raises UsageError where a limit is less than that needs."""
        meter = self._meter
        if meter is not None:
            rest, buffers = self._node.memory_bytes(), self._node.config.log.buffer_bytes
            self._rest = rest + meter.buffers_bytes(buffers)
            rest -= self._node.tables.found_bytes  # it grew to that within the limit, and must not keep the node from opening again
            for _ in range(4):  # a larger limit makes for larger buffers, where the configuration does not say how large
                needed = (rest + meter.buffers_bytes(buffers)) * MEMORY_NEEDED_PERCENT // 100
                buffers = max(buffers, buffer_bytes(needed))
            self.needed[MEMORY] = needed
            self.needed[FILES] = meter.open_files() + FILES_NEEDED
        for kind in (MEMORY, CPU, FILES):
            if meter is None and self.limit(kind) is not None:
                raise UsageError("resources.%s: nothing here can measure it; remove it" % KEYS[kind])
        for kind in KINDS:
            self.check(kind, self.limit(kind))

    # What there is

    def limit(self, kind: str) -> "int | None":
        """In bytes, percent of one core, or how many; None: no limit. Of storage: 0, what the disk has."""
        value: "int | None" = getattr(self._limits, KEYS[kind])
        return value

    def check(self, kind: str, value: "int | None") -> None:
        """Raises UsageError where this node cannot keep such a limit."""
        needed = self.needed.get(kind, 1)
        if value is not None and value < needed and not (kind == STORAGE and value == 0):
            enough = needed + needed // 64 if kind == MEMORY else needed  # larger buffers go with it
            raise UsageError("resources.%s: %d is less than this node needs to run; use at least %d" % (KEYS[kind], value, enough))

    def check_all(self, limits: "dict[str, int | None]") -> None:
        """As `check`, of {kind: limit}."""
        for kind in limits:
            if kind not in KINDS:
                raise UsageError("there is no limit of %r; there are: %s" % (kind, ", ".join(KINDS)))
            self.check(kind, limits[kind])

    def change(self, limits: "dict[str, int | None]") -> None:
        """Set limits, all or none: {kind: limit}. Raises UsageError."""
        self.check_all(limits)
        for kind in limits:
            setattr(self._limits, KEYS[kind], limits[kind])
        self.changed()

    def changed(self) -> None:
        """The limits in the configuration are others: keep them."""
        self._sampled_ms = self._now() - SAMPLE_MS
        self._node.limits_changed()

    # What is used

    def measured_files(self) -> int:
        """Open now."""
        return self._meter.open_files() if self._meter is not None else 0

    def usage(self) -> "dict[str, int]":
        """{kind: bytes, percent of one core, or how many}"""
        self._sample(self._now())
        return {
            MEMORY: self._memory,
            STORAGE: self.evictor.stored_bytes,
            CPU: self._cpu_percent,
            FILES: self._files + self._files_more,
            CONNECTIONS: self.connections + (self.elsewhere() if self.elsewhere is not None else 0),
        }

    def _sample(self, now_ms: int) -> None:
        meter = self._meter
        if meter is None:
            return
        if now_ms - self._sampled_ms >= SAMPLE_MS:
            self._sampled_ms = now_ms
            self._memory, self._files = meter.memory_bytes(), meter.open_files()
            self._files_more = 0
        passed_ms = now_ms - self._cpu_sampled_ms
        if passed_ms >= CPU_SAMPLE_MS:
            cpu_ms = meter.cpu_ms()
            self._cpu_percent = (cpu_ms - self._cpu_ms) * 100 // passed_ms
            self._cpu_ms, self._cpu_sampled_ms = cpu_ms, now_ms

    def tick(self, now_ms: int) -> None:
        """Look at what has a limit; where the memory is used up, free what can be freed."""
        if self._meter is None:
            return
        if self._limits.max_memory is not None and now_ms - self._sampled_ms >= SAMPLE_MS:
            self._sample(now_ms)
            if self._memory > self._limits.max_memory:
                self._meter.relieve()
                self._memory = self._meter.memory_bytes()
            self.memory_full = self._memory > self._limits.max_memory

    # What more may be

    def can_allocate(self, kind: str, amount: int) -> bool:
        """Whether so much more is within the limit."""
        limit = self.limit(kind)
        if kind == STORAGE:
            return self.evictor.room(amount)
        if kind == MEMORY and limit is not None:
            if not self._reserved:
                return True  # one at a time, whatever it needs: else nothing would ever go on
            return self._rest + self._reserved + amount <= limit and self.usage()[kind] + amount <= limit
        kept = self.files_kept() if kind == FILES and self.files_kept is not None else 0
        return limit is None or self.usage()[kind] + kept + amount <= limit

    def allocate(self, kind: str, amount: int) -> None:
        """Count on so much more. Raises LimitReached, StorageFull."""
        if not self.can_allocate(kind, amount):
            if kind == STORAGE:
                raise StorageFull("%d bytes are stored, as many as resources.max_storage allows" % self.evictor.stored_bytes)
            used, limit = self.usage()[kind], self.limit(kind)
            raise LimitReached(kind, "resources.%s: %d of %s are used, and %d more were wanted" % (KEYS[kind], used, limit, amount))
        if kind == CONNECTIONS:
            self.connections += amount
        elif kind == MEMORY:
            self._reserved += amount
        elif kind == FILES:
            self._files_more += amount

    def release(self, kind: str, amount: int) -> None:
        """So much of memory, or so many connections, are not needed any more. What is measured shows it by itself."""
        if kind == CONNECTIONS:
            self.connections -= amount
        elif kind == MEMORY:
            self._reserved -= amount

    def is_over_limit(self) -> "str | None":
        """The first kind of which more is used than may be."""
        usage = self.usage()
        for kind in KINDS:
            limit = self.limit(kind)
            if limit is not None and usage[kind] > limit and not (kind == STORAGE and limit == 0):
                return kind
        return None

    def evict_if_needed(self) -> int:
        """Give back what the storage limit demands. Returns how many bytes went."""
        before = self.evictor.evicted_bytes
        self.evictor.take_stock()
        return self.evictor.evicted_bytes - before

    def status(self) -> "dict[str, Any]":
        """Of each kind: used, limit, needed (the least that a limit may be), over. And the policy, what it gave back, what the disk has
        left. JSON-able."""
        usage = self.usage()
        rows = {}
        for kind in KINDS:
            limit = self.limit(kind)
            over = limit is not None and usage[kind] > limit and not (kind == STORAGE and limit == 0)
            rows[kind] = {"used": usage[kind], "limit": limit, "needed": self.needed.get(kind), "over": over}
        return {
            "resources": rows,
            "eviction_policy": self._limits.eviction_policy,
            "evicted_bytes": self.evictor.evicted_bytes,
            "free_bytes": self._node.storage.free_bytes(),
            "waits_for_cpu": self._node.link.pacing.waits_for_cpu,
        }
