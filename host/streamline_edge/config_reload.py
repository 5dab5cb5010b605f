"""A configuration beside the one that is in force: what can change while the agent runs, and what needs a restart.

Rule: which keys are live is said here alone. What shapes data on the disk or what others know of this node is not: its name, its topics,
where the data is. Knows nothing of agents and signals.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from streamline_core.config import EdgeConfig, TopicConfig
from streamline_core.config_tables import TABLE

LIVE = {
    "sync": (
        "interval_secs", "batch_size", "max_queue_size", "max_queue_bytes", "queue_full", "bandwidth_limit", "backlog_percent", "windows",
        "condition",
    ),
    "sync.retry": ("initial_ms", "max_ms"),
    "resources": tuple(key for section, key, *_ in TABLE if section == "resources"),
    "log": ("commit_interval_ms",),
}  # fmt: skip
LIVE_OF_TOPICS = ("priority", "retention_ms", "urgent", "queue_full")


class Change(NamedTuple):
    """key: as people write it. old, new: its values."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        plain = all(isinstance(value, (bool, int, str)) for value in (self.old, self.new))
        return f"{self.key} {self.old} → {self.new}" if plain else self.key


class Reload(NamedTuple):
    """live: what changes at once; restart: what would only change with a restart."""

    live: list[Change]
    restart: list[Change]


def compare(old: EdgeConfig, new: EdgeConfig) -> Reload:
    """What `new` changes of `old`, which is in force."""
    found = Reload([], [])
    for section, key, *_ in TABLE:
        before, after = _value(old, section, key), _value(new, section, key)
        if _plain(before) != _plain(after):
            live = key in LIVE.get(section, ())
            (found.live if live else found.restart).append(Change(f"{section}.{key}" if section else key, before, after))
    for name in sorted(old.topics | new.topics):
        _compare_topic(name, old.topics.get(name), new.topics.get(name), found)
    for key in ("consumers", "ingest", "serial"):
        before, after = getattr(old, key), getattr(new, key)
        if _plain(before) != _plain(after):
            found.restart.append(Change(key, before, after))
    return found


def _compare_topic(name: str, old: TopicConfig | None, new: TopicConfig | None, found: Reload) -> None:
    if old is None or new is None:
        found.restart.append(Change(f"topic {name}", old, new))
        return
    for key, before in vars(old).items():
        after = getattr(new, key)
        if before != after:
            (found.live if key in LIVE_OF_TOPICS else found.restart).append(Change(f"topic {name}: {key}", before, after))


def apply(config: EdgeConfig, new: EdgeConfig) -> None:
    """Copy what is live of `new` into `config`, whose objects are in use."""
    for section, keys in LIVE.items():
        holder = _section(config, section)
        for key in keys:
            setattr(holder, key, _value(new, section, key))
    for name, topic in config.topics.items():
        if name in new.topics:
            for key in LIVE_OF_TOPICS:
                setattr(topic, key, getattr(new.topics[name], key))


def _section(config: EdgeConfig, section: str) -> Any:
    """The object of a section; None where it is not there."""
    holder: Any = config
    for part in filter(None, section.split(".")):
        holder = getattr(holder, part) if holder is not None else None
    return holder


def _value(config: EdgeConfig, section: str, key: str) -> Any:
    return getattr(_section(config, section), key, None)


def _plain(value: Any) -> Any:
    """Something that is equal where it says the same."""
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return vars(value) if hasattr(value, "__dict__") else value
