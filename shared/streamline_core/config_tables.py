"""The keys of an edge node's configuration: where each stands, what it may hold, and what it is where it is not given.

Rule: this is the one place that lists keys; the check, the JSON Schema and the documentation follow it. Relies on no order of a dict.
"""

from .config import GeoLocation, LogConfig, MeshConfig, ResourceLimits, RetryPolicy, SyncConfig
from .config_values import (
    REQUIRED,
    read_any,
    read_bool,
    read_choice,
    read_condition,
    read_endpoint,
    read_filter,
    read_int,
    read_ms,
    read_node_id,
    read_number,
    read_port,
    read_priorities,
    read_secs,
    read_size,
    read_text,
    read_topic,
    read_url,
    read_windows,
)
from .log_limits import CURSOR_INTERVAL_MS
from .log_state import PRODUCERS_SAVED_MAX
from .topic import KINDS, PARTITIONS_MAX, STRATEGIES

TOPICS_MAX = 256
INGEST_RULES_MAX = 256
CONSUMERS_MAX = 64
LINES_MAX = 64
BATCH_OVERHEAD_BYTES = 128  # a frame around one batch, and a seal around that
BATCH_BYTES_MAX = 65536 - BATCH_OVERHEAD_BYTES
COUNT_MAX = (1 << 48) - 1

_GIB = 1 << 30
EVICTION_POLICIES = ("oldest", "reject", "priority", "lru", "compact")
QUEUE_FULL = ("reject", "block", "evict")

# (section, key, kind, default, allowed). The order is the order in which problems are told.
TABLE = (
    ("", "node_id", read_node_id, REQUIRED, None),
    ("", "fleet", read_node_id, "default", None),
    ("location", "lat", read_number, REQUIRED, (-90, 90)),
    ("location", "lon", read_number, REQUIRED, (-180, 180)),
    ("location", "name", read_text, "", None),
    ("", "cloud_endpoint", read_endpoint, None, None),
    ("", "password_file", read_text, None, None),
    ("", "ca_file", read_text, None, None),
    ("", "cert_file", read_text, None, None),
    ("", "key_file", read_text, None, None),
    ("", "data_dir", read_text, "streamline-data", None),
    ("sync", "enabled", read_bool, True, None),
    ("sync", "interval_secs", read_secs, 0, (0, 7 * 86400)),
    ("sync", "batch_size", read_int, 0, (0, 1000000)),
    ("sync", "compression", read_choice, "zstd", ("none", "deflate", "zstd")),
    ("sync", "max_queue_size", read_int, 0, (0, COUNT_MAX)),
    ("sync", "max_queue_bytes", read_size, 0, (0, COUNT_MAX)),
    ("sync", "queue_full", read_choice, QUEUE_FULL[0], QUEUE_FULL),
    ("sync", "bandwidth_limit", read_size, 0, (0, 1 << 40)),
    ("sync", "backlog_percent", read_int, 50, (1, 99)),
    ("sync", "windows", read_windows, (), None),
    ("sync", "condition", read_condition, None, None),
    ("sync.retry", "initial_ms", read_ms, 1000, (10, 3600000)),
    ("sync.retry", "max_ms", read_ms, 60000, (10, 86400000)),
    ("resources", "max_memory", read_size, None, (1 << 16, 1 << 50)),
    ("resources", "max_storage", read_size, 4 * _GIB, (0, 1 << 50)),
    ("resources", "max_cpu_percent", read_int, None, (1, 100)),
    ("resources", "max_file_descriptors", read_int, None, (16, 1 << 20)),
    ("resources", "max_connections", read_int, None, (1, 1 << 20)),
    ("resources", "eviction_policy", read_choice, "oldest", EVICTION_POLICIES),
    ("resources", "topic_priorities", read_priorities, None, None),
    ("log", "segment_bytes", read_size, 4 << 20, (1024, _GIB)),
    ("log", "batch_bytes", read_size, None, (512, BATCH_BYTES_MAX)),
    ("log", "commit_interval_ms", read_ms, 5, (0, 60000)),
    ("log", "buffer_bytes", read_size, None, (1024, _GIB)),
    ("log", "producers_max", read_int, 64, (1, PRODUCERS_SAVED_MAX)),
    ("log", "cursor_interval_ms", read_ms, CURSOR_INTERVAL_MS, (100, 86400000)),
    ("", "frame_bytes_max", read_size, 65536, (576, 65536)),
    ("", "conflict_resolution", read_choice, STRATEGIES[0], STRATEGIES),
    ("", "merge", read_text, None, None),
    ("", "conflict_log", read_topic, None, None),
    ("", "broker", read_url, None, ("embedded",)),
    ("", "broker_listen", read_text, "127.0.0.1:1883", None),
    ("", "broker_password_file", read_text, None, None),
    ("mesh", "enabled", read_bool, False, None),
    ("mesh", "discovery", read_any, None, None),
    ("mesh", "max_peers", read_int, None, (1, 64)),
    ("mesh", "gossip_interval_secs", read_secs, None, (1, 3600)),
    ("mesh", "replicated_topics", read_any, None, None),
)
SECTIONS = (
    ("location", GeoLocation),
    ("sync", SyncConfig),
    ("sync.retry", RetryPolicy),
    ("resources", ResourceLimits),
    ("log", LogConfig),
    ("mesh", MeshConfig),
)
OPTIONAL_SECTIONS = ("location", "mesh")  # None where they are not given
LISTS = ("sync_topics", "local_topics", "consumers", "ingest", "serial")
# What is known and not built: (section, key, values that are honoured).
NOT_BUILT: "tuple[tuple[str, str, tuple[object, ...]], ...]" = (
    ("mesh", "enabled", (False,)),
)
# The keys of an entry of a list: (key, kind, default, allowed).
TOPIC_TABLE = (
    ("topic", read_topic, REQUIRED, None),
    ("kind", read_choice, "log", KINDS),
    ("direction", read_choice, "edge_to_cloud", ("edge_to_cloud", "cloud_to_edge", "bidirectional")),
    ("partitions", read_int, 1, (1, PARTITIONS_MAX)),
    ("priority", read_int, 5, (1, 10)),
    ("urgent", read_bool, False, None),
    ("queue_full", read_choice, None, QUEUE_FULL),
    ("strategy", read_choice, None, STRATEGIES),
    ("merge", read_text, None, None),
    ("feed_filter", read_text, "", None),
    ("unchanged_max_age", read_ms, 0, (0, 30 * 86400000)),
    ("retention", read_ms, 0, (0, 3650 * 86400000)),
)
LOCAL_KEYS = ("topic", "kind", "partitions", "strategy", "merge", "unchanged_max_age", "retention")
CONSUMER_TABLE = (
    ("name", read_node_id, REQUIRED, None),
    ("topic", read_topic, REQUIRED, None),
    ("holds", read_bool, True, None),
)
INGEST_TABLE = (
    ("from", read_filter, REQUIRED, None),
    ("topic", read_topic, REQUIRED, None),
    ("key", read_choice, "none", ("topic", "none")),
)
LINE_TABLE = (
    ("port", read_port, REQUIRED, None),
    ("baud", read_int, 115200, (300, 4000000)),
    ("node_id", read_node_id, None, None),
    ("password_file", read_text, None, None),
)
