"""The log of conflicts: each one, as it comes up on this node, becomes a record of a local topic.

Rule: a conflict is told once for each set of versions that stands; what cannot be stored is counted. It decides nothing, and nobody waits
for it. One that came up in the last moment before a power cut may be missing, and is still there to be explained.
"""

import binascii
import json

from .conflict import Conflict
from .digest import entry_hash
from .errors import CorruptRecord, ProtocolError, QueueFull, StorageFull, UsageError
from .utf8 import decode_utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .conflict import Resolution
    from .node import Node
    from .table import Watch
    from .tables import Tables
    from .version import Version


class ConflictLog:
    """topic: a local log. logged, unlogged: how many conflicts of each keyed topic were told, and how many could not be."""

    def __init__(self, node: "Node", tables: "Tables", topic: str) -> None:
        self.topic = topic
        self.logged: "dict[str, int]" = {}
        self.unlogged: "dict[str, int]" = {}
        self._node = node
        self._tables = tables
        self._watches: "dict[str, Watch]" = {name: tables.watch(name) for name in tables.topics}
        self._told: "dict[tuple[str, bytes], int]" = {}  # of each key in conflict: a hash of the versions that were told

    def tick(self) -> bool:
        """Tell of the conflicts that have come up. Returns whether any was stored."""
        before = sum(self.logged.values())
        for name in sorted(self._watches):
            keys, any_other = self._watches[name].take()
            if any_other:
                keys = sorted(set(keys + self._tables.conflicts(name) + [key for topic, key in self._told if topic == name]))
            for key in keys:
                self._look(name, key)
        return sum(self.logged.values()) > before

    def _look(self, name: str, key: bytes) -> None:
        try:
            versions, resolution = self._tables.resolve(name, key)
        except (CorruptRecord, OSError):
            return  # it is met again when it can be read
        stands = entry_hash(key, [version.standing for version in versions])
        if resolution is None:
            self._told.pop((name, key), None)
        elif self._told.get((name, key)) != stands:
            self._told[name, key] = stands
            counts = self.logged if self._store(name, key, versions, resolution) else self.unlogged
            counts[name] = counts.get(name, 0) + 1

    def _store(self, name: str, key: bytes, versions: "list[Version]", resolution: "Resolution") -> bool:
        partition = self._tables.partition(name, key).number
        row: "dict[str, Any]" = {
            "topic": name,
            "partition": partition,
            "key": _json_value(key),
            "type": Conflict(name, partition, key, versions).type,
            "versions": [repr(version) for version in versions],
            "resolution": resolution.kind,
            "winners": [repr(version) for version in resolution.versions],
            "rule": resolution.rule,
        }
        if resolution.failed is not None:
            row["merge_failure"] = resolution.failed
        try:
            self._node.produce(self.topic, json.dumps(row).encode(), key)
        except (QueueFull, StorageFull, UsageError):
            return False
        return True


def _json_value(data: bytes) -> "str | dict[str, str]":
    """Text where the bytes are UTF-8, else {"base64": …}, as the tables are explained."""
    try:
        return decode_utf8(data)
    except ProtocolError:
        return {"base64": binascii.b2a_base64(data).strip().decode()}
