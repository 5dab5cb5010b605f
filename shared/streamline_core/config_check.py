"""The keys of an edge node's configuration, and the check of a dict against them.

Rule: a configuration is accepted whole or refused whole, with every problem named at once: the key, the value, and
what is allowed. What this build cannot honour is refused by name, never ignored. Relies on no order of a dict.
"""

from .config import (
    EdgeConfig,
    GeoLocation,
    IngestRule,
    LogConfig,
    MeshConfig,
    ResourceLimits,
    RetryPolicy,
    SyncConfig,
    TopicConfig,
)
from .config_error import ConfigError
from .config_values import (
    REQUIRED,
    Check,
    read_any,
    read_bool,
    read_choice,
    read_filter,
    read_int,
    read_ms,
    read_node_id,
    read_number,
    read_secs,
    read_size,
    read_text,
    read_topic,
    read_url,
    show,
)
from .log_state import PRODUCERS_SAVED_MAX
from .topic import CUSTOM_MERGE, FILTER_CHARS_MAX, KINDS, PARTITIONS_MAX, STRATEGIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .config_error import Path

TOPICS_MAX = 256
INGEST_RULES_MAX = 256
BATCH_OVERHEAD_BYTES = 128  # a frame around one batch, and a seal around that
BATCH_BYTES_MAX = 65536 - BATCH_OVERHEAD_BYTES

_GIB = 1 << 30


def fill(config: EdgeConfig, given: "dict[str, Any]") -> None:
    """As `EdgeConfig.from_dict`, into `config`."""
    check = Check()
    if not isinstance(given, dict):
        raise ConfigError([((), "%s is not a mapping of keys to values" % show(given))])
    _read_sections(config, given, check)
    config.topics = _read_topics(config, given, check)
    config.ingest = _read_ingest(given, config.topics, check)
    if not check.problems:
        _check_together(config, check)
    if check.problems:
        raise ConfigError(check.problems)


# (section, key, kind, default, allowed). The order is the order in which problems are told.
_TABLE = (
    ("", "node_id", read_node_id, REQUIRED, None),
    ("", "fleet", read_node_id, "default", None),
    ("location", "lat", read_number, REQUIRED, (-90, 90)),
    ("location", "lon", read_number, REQUIRED, (-180, 180)),
    ("location", "name", read_text, "", None),
    ("", "cloud_endpoint", read_url, None, ()),
    ("", "password_file", read_text, None, None),
    ("", "ca_file", read_text, None, None),
    ("", "cert_file", read_text, None, None),
    ("", "key_file", read_text, None, None),
    ("", "data_dir", read_text, "streamline-data", None),
    ("sync", "enabled", read_bool, True, None),
    ("sync", "interval_secs", read_secs, 0, (0, 7 * 86400)),
    ("sync", "batch_size", read_int, 1000, (1, 1000000)),
    ("sync", "compression", read_choice, "zstd", ("none", "deflate", "zstd")),
    ("sync", "max_queue_size", read_int, 0, (0, (1 << 48) - 1)),
    ("sync", "bandwidth_limit", read_size, 0, (0, 1 << 40)),
    ("sync.retry", "initial_ms", read_ms, 1000, (10, 3600000)),
    ("sync.retry", "max_ms", read_ms, 60000, (10, 86400000)),
    ("resources", "max_memory", read_size, None, (1 << 16, 1 << 50)),
    ("resources", "max_storage", read_size, 4 * _GIB, (0, 1 << 50)),
    ("resources", "max_cpu_percent", read_int, None, (1, 100)),
    ("resources", "max_file_descriptors", read_int, None, (16, 1 << 20)),
    ("resources", "max_connections", read_int, None, (1, 1 << 20)),
    ("resources", "eviction_policy", read_choice, "oldest", ("oldest", "reject", "priority", "lru", "compact")),
    ("log", "segment_bytes", read_size, 4 << 20, (1024, _GIB)),
    ("log", "batch_bytes", read_size, None, (512, BATCH_BYTES_MAX)),
    ("log", "commit_interval_ms", read_ms, 5, (0, 60000)),
    ("log", "buffer_bytes", read_size, 16 << 20, (1024, _GIB)),
    ("log", "producers_max", read_int, 64, (1, PRODUCERS_SAVED_MAX)),
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
_SECTIONS = (
    ("location", GeoLocation),
    ("sync", SyncConfig),
    ("sync.retry", RetryPolicy),
    ("resources", ResourceLimits),
    ("log", LogConfig),
    ("mesh", MeshConfig),
)
_LISTS = ("sync_topics", "local_topics", "ingest")
# What is known and not built: (section, key, values that are honoured).
_NOT_BUILT: "tuple[tuple[str, str, tuple[object, ...]], ...]" = (
    ("resources", "max_memory", (None,)),
    ("resources", "max_cpu_percent", (None,)),
    ("resources", "max_file_descriptors", (None,)),
    ("resources", "max_connections", (None,)),
    ("resources", "eviction_policy", ("oldest", "reject", "priority", "lru")),
    ("mesh", "enabled", (False,)),
)
# The keys of an entry of sync_topics: key, kind, default, allowed, values that are honoured (None: all).
_TOPIC_TABLE = (
    ("topic", read_topic, REQUIRED, None, None),
    ("kind", read_choice, "log", KINDS, None),
    ("direction", read_choice, "edge_to_cloud", ("edge_to_cloud", "cloud_to_edge", "bidirectional"), None),
    ("partitions", read_int, 1, (1, PARTITIONS_MAX), None),
    ("priority", read_int, 5, (1, 10), None),
    ("strategy", read_choice, None, STRATEGIES, None),
    ("merge", read_text, None, None, None),
    ("feed_filter", read_text, "", None, None),
    ("unchanged_max_age", read_ms, 0, (0, 30 * 86400000), None),
    ("retention", read_ms, 0, (0, 3650 * 86400000), None),
)
_LOCAL_KEYS = ("topic", "kind", "partitions", "strategy", "merge", "unchanged_max_age", "retention")
_INGEST_KEYS = ["from", "topic", "key"]


def _not_built(check: Check, path: "Path", value: object, honoured: "tuple[object, ...]") -> None:
    if value not in honoured:
        use = "remove it" if honoured[0] is None else "use " + " or ".join([str(h).lower() if h is False else str(h) for h in honoured])
        shown = str(value).lower() if value is True else str(value)
        check.problem(path, "%s: this build does not do that yet; %s" % (shown, use))


def _read_sections(config: EdgeConfig, given: "dict[str, Any]", check: Check) -> None:
    sections: "dict[str, tuple[Path, dict[str, Any], Any]]" = {"": ((), given, config)}
    known: "dict[str, list[str]]" = {"": list(_LISTS)}
    for name, make in _SECTIONS:
        cut = name.rfind(".")
        parent_path, parent, holder = sections[name[:cut] if cut > 0 else ""]
        leaf = name[cut + 1 :]
        known[name[:cut] if cut > 0 else ""].append(leaf)
        known[name] = []
        path = parent_path + (leaf,)
        inner = parent.get(leaf)
        if inner is not None and not isinstance(inner, dict):
            check.problem(path, "%s is not allowed; it is a section of keys and values" % show(inner))
            inner = None
        if name in ("location", "mesh") and inner is None:
            setattr(holder, leaf, None)
            continue
        target = make()
        setattr(holder, leaf, target)
        sections[name] = (path, inner or {}, target)
    for section, key, kind, default, allowed in _TABLE:
        if section in sections:
            path, inner, target = sections[section]
            known[section].append(key)
            setattr(target, key, check.value(path + (key,), kind, inner.get(key), default, allowed))
    for section, key, honoured in _NOT_BUILT:
        if section in sections:
            path, inner, target = sections[section]
            _not_built(check, path + (key,), getattr(target, key), honoured)
    for section in sorted(sections):
        path, inner, target = sections[section]
        check.keys(path, inner, known[section])


def _entries(given: "dict[str, Any]", key: str, entries_max: int, check: Check) -> "list[Any]":
    entries = given.get(key)
    if entries is None:
        return []
    if not isinstance(entries, (list, tuple)) or len(entries) > entries_max:
        check.problem((key,), "%s is not allowed; use a list of at most %d" % (show(entries), entries_max))
        return []
    return list(entries)


def _read_topics(config: EdgeConfig, given: "dict[str, Any]", check: Check) -> "dict[str, TopicConfig]":
    topics: "dict[str, TopicConfig]" = {}
    for section in ("sync_topics", "local_topics"):
        for i, entry in enumerate(_entries(given, section, TOPICS_MAX, check)):
            path: "Path" = (section, i)
            if isinstance(entry, str):
                entry = {"topic": entry}
            if not isinstance(entry, dict):
                check.problem(path, "%s is not allowed; use a topic's name, or keys and values" % show(entry))
                continue
            local = section == "local_topics"
            keys = _LOCAL_KEYS if local else [row[0] for row in _TOPIC_TABLE]
            check.keys(path, entry, list(keys))
            values: "dict[str, Any]" = {}
            for key, kind, default, allowed, honoured in _TOPIC_TABLE:
                values[key] = check.value(path + (key,), kind, entry.get(key) if key in keys else None, default, allowed)
                if honoured is not None:
                    _not_built(check, path + (key,), values[key], honoured)
            name = values["topic"]
            if name in topics:
                check.problem(path + ("topic",), "%r is there twice; name each topic once" % name)
            elif name is not REQUIRED:
                direction = "local" if local else values["direction"]
                _check_topic(config, path, values, direction, check)
                strategy = values["strategy"] or (config.conflict_resolution if values["kind"] == "keyed" else STRATEGIES[0])
                merge = (values["merge"] or config.merge) if strategy == CUSTOM_MERGE else None
                topics[name] = TopicConfig(
                    name, values["kind"], direction, values["partitions"], values["priority"], strategy, merge, values["feed_filter"],
                    values["unchanged_max_age"], values["retention"],
                )  # fmt: skip
    return topics


def _check_topic(config: EdgeConfig, path: "Path", values: "dict[str, Any]", direction: str, check: Check) -> None:
    """What only several keys of a topic together can get wrong."""
    if values["kind"] == "log":
        for key in ("strategy", "merge", "unchanged_max_age"):
            if values[key]:
                check.problem(path + (key,), "is for topics of kind keyed; this one is a log, where nothing conflicts")
    elif values["strategy"] == CUSTOM_MERGE or (values["strategy"] is None and config.conflict_resolution == CUSTOM_MERGE):
        if values["merge"] is None and config.merge is None:
            check.problem(path + ("merge",), "is missing; custom_merge needs a module: python:FILE.py or wasm:FILE.wasm")
    elif values["merge"] is not None:
        check.problem(path + ("merge",), "is for the strategy custom_merge")
    if values["retention"] and values["kind"] != "log":
        check.problem(path + ("retention",), "is for logs; a keyed topic keeps what stands of each key")
    if values["feed_filter"]:
        if direction not in ("cloud_to_edge", "bidirectional"):
            check.problem(path + ("feed_filter",), "is for topics that flow down from the cloud; this one is %s" % direction)
        if len(values["feed_filter"]) > FILTER_CHARS_MAX:
            check.problem(path + ("feed_filter",), "has %d characters; use at most %d" % (len(values["feed_filter"]), FILTER_CHARS_MAX))


def _read_ingest(given: "dict[str, Any]", topics: "dict[str, TopicConfig]", check: Check) -> "list[IngestRule]":
    rules = []
    for i, entry in enumerate(_entries(given, "ingest", INGEST_RULES_MAX, check)):
        path: "Path" = ("ingest", i)
        if not isinstance(entry, dict):
            check.problem(path, "%s is not allowed; use the keys from, topic, key" % show(entry))
            continue
        check.keys(path, entry, _INGEST_KEYS)
        source = check.value(path + ("from",), read_filter, entry.get("from"), REQUIRED, None)
        topic = check.value(path + ("topic",), read_topic, entry.get("topic"), REQUIRED, None)
        key = check.value(path + ("key",), read_choice, entry.get("key"), "none", ("topic", "none"))
        if topic is not REQUIRED and topic not in topics:
            check.problem(path + ("topic",), "%r is not in sync_topics or local_topics; add it there" % topic)
        rules.append(IngestRule(source, topic, None if key == "none" else key))
    if rules and given.get("broker") is None:
        check.problem(("ingest",), "needs a local broker; set broker to embedded or to a URL")
    return rules


def _check_together(config: EdgeConfig, check: Check) -> None:
    """What only two values together can get wrong."""
    log = config.log
    if log.batch_bytes is None:
        log.batch_bytes = min(BATCH_BYTES_MAX, log.segment_bytes, config.frame_bytes_max - BATCH_OVERHEAD_BYTES)
    if log.batch_bytes + BATCH_OVERHEAD_BYTES > config.frame_bytes_max:
        most = config.frame_bytes_max - BATCH_OVERHEAD_BYTES
        check.problem(
            ("log", "batch_bytes"),
            "%d does not fit a frame of frame_bytes_max; use at most %d" % (log.batch_bytes, most),
        )
    if log.batch_bytes > log.segment_bytes:
        check.problem(
            ("log", "batch_bytes"),
            "%d does not fit a segment; use at most segment_bytes, %d" % (log.batch_bytes, log.segment_bytes),
        )
    if log.buffer_bytes < log.batch_bytes:
        check.problem(
            ("log", "buffer_bytes"),
            "%d is less than one batch; use at least batch_bytes, %d" % (log.buffer_bytes, log.batch_bytes),
        )
    if config.sync.retry.max_ms < config.sync.retry.initial_ms:
        check.problem(
            ("sync", "retry", "max_ms"),
            "%d is less than initial_ms, %d" % (config.sync.retry.max_ms, config.sync.retry.initial_ms),
        )
    if 0 < config.resources.max_storage < 2 * log.segment_bytes:
        check.problem(
            ("resources", "max_storage"),
            "%d holds less than two segments of log.segment_bytes" % config.resources.max_storage,
        )
    told = config.topics.get(config.conflict_log) if config.conflict_log is not None else None
    if config.conflict_log is not None and (told is None or told.kind == "keyed" or told.direction != "local"):
        check.problem(("conflict_log",), "%r has to be one of local_topics, of kind log; add it there" % config.conflict_log)
    if config.cloud_endpoint is None and (config.password_file or config.cert_file):
        check.problem(("cloud_endpoint",), "is missing, and there are credentials for it")
