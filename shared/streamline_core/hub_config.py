"""What a hub is told when it is made: its names, what it may hold, and what it keeps for how long.

Rule: names are checked here, before anything is opened. Knows nothing of files.
"""

from .stream import check_node_id, check_topic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .topic import TopicDefinition

CREDIT_BYTES = 64 << 20
FEED_BYTES = 1 << 18
TOMBSTONE_MS = 30 * 86400000


class HubConfig:
    """node_id, fleet: names; credit_bytes: what may be under way to this hub; topics: definitions by name, or None to take up a topic
    as the first node defines it; feed_bytes: of what one DATA frame to a node holds uncompressed, at least a largest batch;
    tombstone_ms: how long a deletion is kept."""

    def __init__(
        self,
        node_id: str = "cloud",
        fleet: str = "default",
        credit_bytes: int = CREDIT_BYTES,
        topics: "dict[str, TopicDefinition] | None" = None,
        feed_bytes: int = FEED_BYTES,
        tombstone_ms: int = TOMBSTONE_MS,
    ) -> None:
        check_node_id(node_id)
        check_topic(fleet)
        self.node_id = node_id
        self.fleet = fleet
        self.credit_bytes = credit_bytes
        self.topics = topics
        self.feed_bytes = feed_bytes
        self.tombstone_ms = tombstone_ms
