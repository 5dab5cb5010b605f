"""The configuration of an edge node, checked: every key of edge.yaml is an attribute.

Rule: a configuration is accepted whole or refused whole (config_check.py). Knows nothing of files and YAML: a host reads `edge.yaml`, a
board reads JSON, both hand over a dict.
"""

from .config_error import ConfigError, path_text
from .topic import STRATEGIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .sync_windows import Window

__all__ = ["ConfigError", "EdgeConfig", "path_text"]

BUFFER_BYTES = 16 << 20
POSITIONS_MAX = 256  # of consumers with names: one for each partition that one reads; they have to fit a slot


class GeoLocation:
    lat: float
    lon: float
    name: str


class RetryPolicy:
    """Waits between attempts to connect, in milliseconds; they grow with full jitter from `initial_ms` to `max_ms`."""

    initial_ms: int
    max_ms: int


class SyncConfig:
    """interval_secs: 0 = continuously. batch_size: records in a frame at the most, 0 = as many as fit. max_queue_size: records,
    max_queue_bytes: bytes, 0 = no limit; queue_full: "reject", "block" or "evict". bandwidth_limit: bytes per second,
    0 = no limit. backlog_percent: of the link, for what had gathered before it came, while fresh data wants to go, too. windows:
    when to sync, always where there is none; condition: what else has to hold."""

    enabled: bool
    interval_secs: int
    batch_size: int
    compression: str
    max_queue_size: int
    max_queue_bytes: int
    queue_full: str
    bandwidth_limit: int
    backlog_percent: int
    windows: "list[Window]"
    condition: "str | None"
    retry: RetryPolicy


class ResourceLimits:
    """max_memory, max_storage: bytes, 0 = what the disk has; max_cpu_percent: of one core. Those not given are None.
    topic_priorities: for eviction, where they differ from those of the topics."""

    max_memory: "int | None"
    max_storage: int
    max_cpu_percent: "int | None"
    max_file_descriptors: "int | None"
    max_connections: "int | None"
    eviction_policy: str
    topic_priorities: "dict[str, int] | None"


class LogConfig:
    """batch_bytes: the largest that segments and frames can take, where not given. buffer_bytes: accepted but not yet
    durable, beyond which producers wait. producers_max: idempotent producers remembered per log. cursor_interval_ms: how often what the
    cloud confirmed is noted."""

    segment_bytes: int
    batch_bytes: int
    commit_interval_ms: int
    buffer_bytes: int
    producers_max: int
    cursor_interval_ms: int


class TopicConfig:
    """One topic. direction: one of topic.DIRECTIONS, "local" for one that never leaves the node; strategy, merge: of a keyed one, what is
    shown of conflicting versions, and the module that merges them; feed_filter: which keys the cloud sends here; unchanged_max_age_ms:
    for how long a value that is written again as it is needs no new version, 0: never; retention_ms: for how long a log keeps what it
    holds, 0: as long as there is room; priority: 1 to 10, of its share of the link, and of what stays; urgent: it goes outside of windows,
    conditions and intervals, too; queue_full: what happens to more than may be owed."""

    def __init__(
        self,
        name: str,
        kind: str = "log",
        direction: str = "edge_to_cloud",
        partitions: int = 1,
        priority: int = 5,
        strategy: str = STRATEGIES[0],
        merge: "str | None" = None,
        feed_filter: str = "",
        unchanged_max_age_ms: int = 0,
        retention_ms: int = 0,
        urgent: bool = False,
        queue_full: str = "reject",
    ) -> None:
        self.name, self.kind, self.direction = name, kind, direction
        self.partitions, self.priority, self.strategy = partitions, priority, strategy
        self.merge, self.feed_filter, self.unchanged_max_age_ms = merge, feed_filter, unchanged_max_age_ms
        self.retention_ms = retention_ms
        self.urgent, self.queue_full = urgent, queue_full


class ConsumerConfig:
    """A reader of this node with a durable position. holds: what it has not read yet is not given back."""

    def __init__(self, name: str, topic: str, holds: bool) -> None:
        self.name, self.topic, self.holds = name, topic, holds


class IngestRule:
    """Messages of a local broker that match `filter` become records of `topic`.

    key: "topic" = the MQTT topic is the record's key; None = no key.
    """

    def __init__(self, filter: str, topic: str, key: "str | None") -> None:
        self.filter, self.topic, self.key = filter, topic, key


class LineConfig:
    """A serial line with a board at its end, which this node carries to the broker. node_id: the only node that may be there, None: any."""

    def __init__(self, port: str, baud: int, node_id: "str | None", password_file: "str | None") -> None:
        self.port, self.baud, self.node_id, self.password_file = port, baud, node_id, password_file


class MeshConfig:
    """Peers; this build takes only `enabled: false`."""

    enabled: bool


def buffer_bytes(max_memory: "int | None") -> int:
    """log.buffer_bytes where it is not given."""
    return BUFFER_BYTES if max_memory is None else min(BUFFER_BYTES, max_memory >> 4)


class EdgeConfig:
    """A checked configuration: every key of the table is an attribute, sections are objects, `topics` is by name."""

    node_id: str
    fleet: str
    location: "GeoLocation | None"
    cloud_endpoint: "str | None"
    password_file: "str | None"
    ca_file: "str | None"
    cert_file: "str | None"
    key_file: "str | None"
    data_dir: str
    sync: SyncConfig
    resources: ResourceLimits
    log: LogConfig
    frame_bytes_max: int
    conflict_resolution: str
    merge: "str | None"
    conflict_log: "str | None"
    mesh: "MeshConfig | None"
    broker: "str | None"
    broker_listen: str
    broker_password_file: "str | None"
    topics: "dict[str, TopicConfig]"
    consumers: "list[ConsumerConfig]"
    ingest: "list[IngestRule]"
    serial: "list[LineConfig]"

    @classmethod
    def from_dict(cls, given: "dict[str, Any]") -> "EdgeConfig":
        """Check `given` (in the shape of edge.yaml, without its `edge:`) and fill in the defaults.

        Sizes are bytes or text such as "256MB" (1024-based), durations are in the key's unit or text such as "5s".
        Raises: ConfigError with all problems.
        """
        from .config_check import fill  # a board lets go of it when it has its configuration

        config = cls()
        fill(config, given)
        return config
