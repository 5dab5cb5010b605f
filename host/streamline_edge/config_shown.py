"""A configuration as it is in force, key by key, and where each value came from.

Rule: what is shown is what the agent would use; a key that nobody gave is shown with what stands for it; a password is not shown. Knows
nothing of files.
"""

from __future__ import annotations

from typing import Any

from streamline_core.config import TopicConfig, path_text
from streamline_core.config_tables import CONSUMER_TABLE, INGEST_TABLE, LINE_TABLE, LOCAL_KEYS, TABLE, TOPIC_TABLE
from streamline_core.config_values import read_endpoint, read_url, read_windows

from .config_reading import Reading
from .yaml_values import KeyPath

DEFAULT = "default"
ATTRIBUTES = {
    "topic": "name",
    "unchanged_max_age": "unchanged_max_age_ms",
    "retention": "retention_ms",
}  # of TopicConfig, where not the key
INHERITED = {"queue_full": "sync.queue_full", "strategy": "conflict_resolution", "merge": "merge"}  # by a topic that does not say
ONLY_OF_KIND = {"strategy": "keyed", "merge": "keyed", "unchanged_max_age": "keyed", "retention": "log"}

Row = dict[str, Any]


def rows(reading: Reading) -> list[Row]:
    """{"key", "value", "source"} for each key, in the order of the tables. source: a file and its line, a variable, an option, the key
    whose value stands for it, or "default"."""
    found = []
    config: Any = reading.config
    for section, key, kind, _, _ in TABLE:
        path: KeyPath = (*filter(None, section.split(".")), key)
        holder = config
        for part in path[:-1]:
            holder = getattr(holder, str(part)) if holder is not None else None
        if holder is not None:  # an optional section that is not there
            value = getattr(holder, key)
            if kind is read_windows:  # as people write them
                value = reading.value(path) or []
            elif kind in (read_url, read_endpoint) and value is not None:
                value = _without_password(value)
            found.append(_row(reading, path, value))
    for section in ("sync_topics", "local_topics"):
        for i, entry in enumerate(reading.value((section,)) or ()):
            bare = isinstance(entry, str)
            topic = _topic(reading, (section, i), config.topics[entry if bare else entry["topic"]], local=section == "local_topics")
            if bare:  # the name is all of the entry
                topic[0]["source"] = str(reading.source((section, i)))
            found += topic
    for i, consumer in enumerate(config.consumers):
        found += [_row(reading, ("consumers", i, key), getattr(consumer, key)) for key, *_ in CONSUMER_TABLE]
    for i, rule in enumerate(config.ingest):
        found += [_row(reading, ("ingest", i, key), getattr(rule, "filter" if key == "from" else key)) for key, *_ in INGEST_TABLE]
    for i, line in enumerate(config.serial):
        found += [_row(reading, ("serial", i, key), getattr(line, key)) for key, *_ in LINE_TABLE]
    return found


def _topic(reading: Reading, path: KeyPath, topic: TopicConfig, local: bool) -> list[Row]:
    found = []
    for key, *_ in TOPIC_TABLE:
        if (not local or key in LOCAL_KEYS) and ONLY_OF_KIND.get(key, topic.kind) == topic.kind:
            value = getattr(topic, ATTRIBUTES.get(key, key))
            row = _row(reading, (*path, key), value)
            if row["source"] == DEFAULT and value is not None and key in INHERITED:
                row["source"] = INHERITED[key]
            found.append(row)
    return found


def _row(reading: Reading, path: KeyPath, value: Any) -> Row:
    return {"key": path_text(path), "value": value, "source": str(reading.source(path) or DEFAULT)}


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}@{host}" if at else url
