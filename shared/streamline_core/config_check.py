"""The check of a dict against the tables of keys (config_tables.py).

Rule: a configuration is accepted whole or refused whole, with every problem named at once: the key, the value, and
what is allowed. What this build cannot honour is refused by name, never ignored. Relies on no order of a dict.
"""

from .config import POSITIONS_MAX, ConsumerConfig, EdgeConfig, IngestRule, LineConfig, TopicConfig, buffer_bytes
from .config_error import ConfigError
from .config_tables import (
    BATCH_BYTES_MAX,
    BATCH_OVERHEAD_BYTES,
    CONSUMER_TABLE,
    CONSUMERS_MAX,
    INGEST_RULES_MAX,
    INGEST_TABLE,
    LINE_TABLE,
    LINES_MAX,
    LISTS,
    LOCAL_KEYS,
    NOT_BUILT,
    OPTIONAL_SECTIONS,
    SECTIONS,
    TABLE,
    TOPIC_TABLE,
    TOPICS_MAX,
)
from .config_values import REQUIRED, Check, show
from .topic import CUSTOM_MERGE, FILTER_CHARS_MAX, STRATEGIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .config_error import Path


def fill(config: EdgeConfig, given: "dict[str, Any]") -> None:
    """As `EdgeConfig.from_dict`, into `config`."""
    check = Check()
    if not isinstance(given, dict):
        raise ConfigError([((), "%s is not a mapping of keys to values" % show(given))])
    _read_sections(config, given, check)
    config.topics = _read_topics(config, given, check)
    config.consumers = _read_consumers(given, config.topics, check)
    config.ingest = _read_ingest(given, config.topics, check)
    config.serial = _read_lines(config, given, check)
    _check_together(config, check)
    if check.problems:
        raise ConfigError(check.problems)


def _not_built(check: Check, path: "Path", value: object, honoured: "tuple[object, ...]") -> None:
    if value not in honoured:
        off = honoured[0] is None or (honoured[0] is not False and not honoured[0])
        use = "remove it" if off else "use " + " or ".join([str(h).lower() if h is False else str(h) for h in honoured])
        shown = str(value).lower() if value is True else str(value)
        check.problem(path, "%s: this build does not do that yet; %s" % (shown, use))


def _read_sections(config: EdgeConfig, given: "dict[str, Any]", check: Check) -> None:
    sections: "dict[str, tuple[Path, dict[str, Any], Any]]" = {"": ((), given, config)}
    known: "dict[str, list[str]]" = {"": list(LISTS)}
    for name, make in SECTIONS:
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
        if name in OPTIONAL_SECTIONS and inner is None:
            setattr(holder, leaf, None)
            continue
        target = make()
        setattr(holder, leaf, target)
        sections[name] = (path, inner or {}, target)
    for section, key, kind, default, allowed in TABLE:
        if section in sections:
            path, inner, target = sections[section]
            known[section].append(key)
            setattr(target, key, check.value(path + (key,), kind, inner.get(key), default, allowed))
    for section, key, honoured in NOT_BUILT:
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
            keys = LOCAL_KEYS if local else [row[0] for row in TOPIC_TABLE]
            check.keys(path, entry, list(keys))
            values: "dict[str, Any]" = {}
            for key, kind, default, allowed in TOPIC_TABLE:
                values[key] = check.value(path + (key,), kind, entry.get(key) if key in keys else None, default, allowed)
            name, direction = values["topic"], "local" if local else values["direction"]
            _check_topic(config, path, values, direction, check)
            if name in topics:
                check.problem(path + ("topic",), "%r is there twice; name each topic once" % name)
            elif name is not REQUIRED:
                strategy = values["strategy"] or (config.conflict_resolution if values["kind"] == "keyed" else STRATEGIES[0])
                merge = (values["merge"] or config.merge) if strategy == CUSTOM_MERGE else None
                topics[name] = TopicConfig(
                    name, values["kind"], direction, values["partitions"], values["priority"], strategy, merge, values["feed_filter"],
                    values["unchanged_max_age"], values["retention"], values["urgent"],
                    values["queue_full"] or _queue_full(config, values["kind"]),
                )  # fmt: skip
    return topics


def _queue_full(config: EdgeConfig, kind: str) -> str:
    """Of a topic that says nothing itself."""
    return "reject" if kind != "log" and config.sync.queue_full == "evict" else config.sync.queue_full


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
    if values["queue_full"] == "evict" and values["kind"] != "log":
        check.problem(path + ("queue_full",), "evict is for logs; of a keyed topic nothing is given up: use reject or block")
    if values["retention"] and values["kind"] != "log":
        check.problem(path + ("retention",), "is for logs; a keyed topic keeps what stands of each key")
    if values["feed_filter"]:
        if direction not in ("cloud_to_edge", "bidirectional"):
            check.problem(path + ("feed_filter",), "is for topics that flow down from the cloud; this one is %s" % direction)
        if len(values["feed_filter"]) > FILTER_CHARS_MAX:
            check.problem(path + ("feed_filter",), "has %d characters; use at most %d" % (len(values["feed_filter"]), FILTER_CHARS_MAX))


def _read_entry(path: "Path", entry: "Any", table: "Any", check: Check) -> "dict[str, Any] | None":
    """The values of an entry of a list, by a table; None where it has no keys."""
    keys = [row[0] for row in table]
    if not isinstance(entry, dict):
        check.problem(path, "%s is not allowed; use the keys %s" % (show(entry), ", ".join(keys)))
        return None
    check.keys(path, entry, keys)
    values = {}
    for key, kind, default, allowed in table:
        values[key] = check.value(path + (key,), kind, entry.get(key), default, allowed)
    return values


def _read_consumers(given: "dict[str, Any]", topics: "dict[str, TopicConfig]", check: Check) -> "list[ConsumerConfig]":
    consumers, known, positions = [], set(), 0
    for i, entry in enumerate(_entries(given, "consumers", CONSUMERS_MAX, check)):
        path: "Path" = ("consumers", i)
        values = _read_entry(path, entry, CONSUMER_TABLE, check)
        if values is None or values["topic"] is REQUIRED or values["name"] is REQUIRED:
            continue
        name, topic = values["name"], topics.get(values["topic"])
        if topic is None:
            check.problem(path + ("topic",), "%r is not in sync_topics or local_topics; add it there" % values["topic"])
        elif topic.kind == "keyed":
            check.problem(path + ("topic",), "%r is keyed: it has no order to go through; watch its keys" % values["topic"])
        if (name, values["topic"]) in known:
            check.problem(path + ("name",), "%r is there twice for %r; name each once" % (name, values["topic"]))
        known.add((name, values["topic"]))
        positions += topic.partitions if topic is not None else 0
        if positions > POSITIONS_MAX:
            check.problem(path, "is one too many: at most %d partitions can be read by consumers with names" % POSITIONS_MAX)
        consumers.append(ConsumerConfig(name, values["topic"], values["holds"]))
    return consumers


def _read_ingest(given: "dict[str, Any]", topics: "dict[str, TopicConfig]", check: Check) -> "list[IngestRule]":
    rules = []
    for i, entry in enumerate(_entries(given, "ingest", INGEST_RULES_MAX, check)):
        path: "Path" = ("ingest", i)
        values = _read_entry(path, entry, INGEST_TABLE, check)
        if values is None:
            continue
        if values["topic"] is not REQUIRED and values["topic"] not in topics:
            check.problem(path + ("topic",), "%r is not in sync_topics or local_topics; add it there" % values["topic"])
        rules.append(IngestRule(values["from"], values["topic"], None if values["key"] == "none" else values["key"]))
    if rules and given.get("broker") is None:
        check.problem(("ingest",), "needs a local broker; set broker to embedded or to a URL")
    return rules


def _read_lines(config: EdgeConfig, given: "dict[str, Any]", check: Check) -> "list[LineConfig]":
    lines, known = [], set()
    for i, entry in enumerate(_entries(given, "serial", LINES_MAX, check)):
        path: "Path" = ("serial", i)
        values = _read_entry(path, entry, LINE_TABLE, check)
        if values is None:
            continue
        for key in ("port", "node_id"):
            value = values[key]
            if value is not None and value is not REQUIRED:
                if (key, value) in known:
                    check.problem(path + (key,), "%r is there twice; name each once" % value)
                known.add((key, value))
        if values["node_id"] is not None and values["node_id"] == config.node_id:
            check.problem(path + ("node_id",), "%r is this node itself; name the board at the end of the line" % values["node_id"])
        lines.append(LineConfig(values["port"], values["baud"], values["node_id"], values["password_file"]))
    if lines and config.cloud_endpoint is None:
        check.problem(("serial",), "needs a broker to carry boards to; set cloud_endpoint")
    return lines


def _check_together(config: EdgeConfig, check: Check) -> None:
    """What only several values together can get wrong; where one of them is wrong by itself, that is enough to say."""
    log, limits = config.log, config.resources
    if log.batch_bytes is None:
        log.batch_bytes = min(BATCH_BYTES_MAX, log.segment_bytes, config.frame_bytes_max - BATCH_OVERHEAD_BYTES)
    if log.buffer_bytes is None:
        log.buffer_bytes = max(log.batch_bytes, buffer_bytes(limits.max_memory))
    batch, buffer, segment = ("log", "batch_bytes"), ("log", "buffer_bytes"), ("log", "segment_bytes")
    if log.batch_bytes + BATCH_OVERHEAD_BYTES > config.frame_bytes_max:
        most = config.frame_bytes_max - BATCH_OVERHEAD_BYTES
        text = "%d does not fit a frame of frame_bytes_max; use at most %d" % (log.batch_bytes, most)
        check.together((batch, ("frame_bytes_max",)), text)
    if log.batch_bytes > log.segment_bytes:
        text = "%d does not fit a segment; use at most segment_bytes, %d" % (log.batch_bytes, log.segment_bytes)
        check.together((batch, segment), text)
    if log.buffer_bytes < log.batch_bytes:
        text = "%d is less than one batch; use at least batch_bytes, %d" % (log.buffer_bytes, log.batch_bytes)
        check.together((buffer, batch), text)
    retry = config.sync.retry
    if retry.max_ms < retry.initial_ms:
        text = "%d is less than initial_ms, %d" % (retry.max_ms, retry.initial_ms)
        check.together((("sync", "retry", "max_ms"), ("sync", "retry", "initial_ms")), text)
    if 0 < limits.max_storage < 2 * log.segment_bytes:
        least = 2 * log.segment_bytes
        text = "%d holds less than two segments of log.segment_bytes; use at least %d, or smaller segments" % (limits.max_storage, least)
        check.together((("resources", "max_storage"), segment), text)
    for name in sorted(limits.topic_priorities or {}):
        if name not in config.topics:
            check.problem(("resources", "topic_priorities", name), "is not in sync_topics or local_topics; add it there")
    told = config.topics.get(config.conflict_log) if config.conflict_log is not None else None
    if config.conflict_log is not None and (told is None or told.kind == "keyed" or told.direction != "local"):
        check.problem(("conflict_log",), "%r has to be one of local_topics, of kind log; add it there" % config.conflict_log)
    if config.cloud_endpoint is None and (config.password_file or config.cert_file):
        check.together((("cloud_endpoint",),), "is missing, and there are credentials for it")
