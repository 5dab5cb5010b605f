"""What a node keeps of itself beside its logs: the id of its storage, and what an operator has said about sync.

Rule: the id is drawn once, and tells one disk from another; what an operator says lasts over restarts, until he says something else; a
write that fails is tried again. Knows nothing of links.
"""

from .slots import Slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ports import Entropy, Storage

STORAGE_ID_BYTES = 8
AS_CONFIGURED, PAUSED, RESUMED = 0, 1, 2  # what an operator has said about sync
RETRY_SLOTS_MS = 5000


class NodeState:
    """storage_id: 8 bytes. steered: AS_CONFIGURED, PAUSED or RESUMED. slots: where both are."""

    def __init__(self, storage: "Storage") -> None:
        self.storage_id = b""
        self.steered = AS_CONFIGURED
        self.slots = Slots(storage, "node")
        self._tried_ms = 0

    def load(self, entropy: "Entropy") -> None:
        """Find what was kept; a storage that is new is given its id. Raises OSError where it cannot be read."""
        saved = self.slots.load()
        if saved is not None and STORAGE_ID_BYTES <= len(saved) <= STORAGE_ID_BYTES + 1:
            self.storage_id = saved[:STORAGE_ID_BYTES]
            self.steered = saved[STORAGE_ID_BYTES] if len(saved) > STORAGE_ID_BYTES else AS_CONFIGURED
        else:
            fresh = bytearray(STORAGE_ID_BYTES)
            entropy.fill(fresh)
            self.storage_id = bytes(fresh)
            self.slots.save(self.storage_id)

    def paused(self, enabled: bool) -> bool:
        """Whether sync is paused. enabled: what the configuration says, which holds where no operator has said otherwise."""
        return not enabled if self.steered == AS_CONFIGURED else self.steered == PAUSED

    def steer(self, steered: int) -> None:
        """Keep what an operator says."""
        if steered != self.steered:
            self.steered = steered
            self.slots.save(self.storage_id + (bytes((steered,)) if steered != AS_CONFIGURED else b""))

    def tick(self, now_ms: int) -> int:
        """Try again what could not be written. Returns when to come again (monotonic ms), -1 for never."""
        if not self.slots.stalled:
            return -1
        if now_ms - self._tried_ms >= RETRY_SLOTS_MS:
            self._tried_ms = now_ms
            self.slots.retry()
        return self._tried_ms + RETRY_SLOTS_MS
