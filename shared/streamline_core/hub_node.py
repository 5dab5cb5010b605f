"""What a hub knows of one node while it runs.

Rule: state only; the hub decides. Knows nothing of the store or of the carrier.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .session import Session

SWAPS_MAX = 3  # changes of a node's storage id within SWAP_MS that look like two devices under one name
SWAP_MS = 600000


class NodeAtHub:
    """What the hub knows of one node while it runs."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.current: "Session | None" = None
        self.candidate: "Session | None" = None
        self.online: "bool | None" = None
        self.storage_id = b""
        self.swaps_ms: "list[int]" = []
        self.error_at_ms = -1
        self.refused_frames = 0
        self.last_seen_ms = -1
        self.outbox: "list[bytes]" = []
        self.why_refused = ""
