"""What is shown of a key at the cloud, and why.

Rule: the core's resolver decides, as on every other replica; where the module of a custom merge is not at hand, or is another one than the
topic was defined with, all versions are shown, and it is said so. Must not know: where versions are kept, how anything is printed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamline_core.conflict import Conflict, ConflictResolver, Resolution
from streamline_core.topic import CUSTOM_MERGE, STRATEGIES, TopicDefinition, partition_of

from .stored_tables import Standing

if TYPE_CHECKING:
    from streamline_core.conflict import Merge

KEEP_BOTH = STRATEGIES[4]


@dataclass
class Shown:
    """versions: what stands, the earliest first; conflict, resolution: None where no two versions stand; note: what a person should know of
    the rule that was followed, or None."""

    partition: int
    versions: Sequence[Standing]
    conflict: Conflict | None = None
    resolution: Resolution | None = None
    note: str | None = None

    @property
    def value(self) -> bytes | None:
        """None where the key was never written, or is deleted."""
        if self.resolution is not None:
            return self.resolution.value
        return self.versions[0].version.value if self.versions else None

    @property
    def winners(self) -> list[tuple[str, int, int]]:
        """The dots of those that are shown, or went into what is shown."""
        found = self.resolution.versions if self.resolution is not None else [row.version for row in self.versions]
        return [version.dot for version in found]


class Rule:
    """How conflicts of one topic are decided. merge: a module and its hash, for custom_merge."""

    def __init__(self, topic: str, definition: TopicDefinition, merge: "tuple[Merge, bytes] | None" = None) -> None:
        self.topic = topic
        self.definition = definition
        self.note: str | None = None
        strategy = definition.strategy
        module = None
        if strategy == CUSTOM_MERGE:
            if merge is None:
                self.note = "topic %s: custom_merge without its module is shown as %s; name the module with --merge" % (topic, KEEP_BOTH)
            elif merge[1] != definition.merge_hash:
                hashes = (topic, definition.merge_hash.hex() or "none", merge[1].hex(), KEEP_BOTH)
                self.note = "topic %s: its merge module has the hash %s, this one %s, so custom_merge is shown as %s" % hashes
            else:
                module = merge[0]
            if module is None:
                strategy = KEEP_BOTH
        self._resolver = ConflictResolver(strategy, module)

    def show(self, key: bytes, versions: Sequence[Standing]) -> Shown:
        """versions: what stands, the earliest first."""
        partition = partition_of(key, self.definition.partitions)
        if len(versions) < 2:
            return Shown(partition, versions)
        conflict = Conflict(self.topic, partition, key, [row.version for row in versions])
        return Shown(partition, versions, conflict, self._resolver.resolve(conflict), self.note)
