"""Conflicts: which of several siblings is shown, by the rule that the topic's owner chose, and why.

Rule: a pure function of the siblings, the same on every replica; it decides only between writes that had not seen each other, and never
writes anything back. A merge that fails shows all, everywhere alike. Knows nothing of logs, tables or how a merge module is loaded.
"""

from .errors import UsageError
from .topic import STRATEGIES
from .version import SIDES, Version, join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Sequence

    # (key, the earlier value, the later one; None: deleted) to the value that stands for both
    Merge = Callable[[bytes, "bytes | None", "bytes | None"], "bytes | None"]

CONCURRENT_WRITE = "concurrent write"  # both wrote the key
UPDATE_DELETE = "update/delete"  # the edge updated, the cloud deleted
DELETE_UPDATE = "delete/update"  # the edge deleted, the cloud updated
ORDERING = "ordering"  # both wrote the same: only which came first is open
CONFLICT_TYPES = (CONCURRENT_WRITE, UPDATE_DELETE, DELETE_UPDATE, ORDERING)

USE_EDGE = "use edge"
USE_CLOUD = "use cloud"
MERGED = "merged"
BOTH = "both"
DROP = "drop"  # what is shown is that it was deleted

MERGED_BYTES_MAX = 1 << 20
_EDGE, _CLOUD = SIDES
_LAST, _FIRST, _CLOUD_WINS, _EDGE_WINS, _BOTH, _CUSTOM = STRATEGIES


class Resolution:
    """kind: USE_EDGE, USE_CLOUD, MERGED, BOTH or DROP; value: what is shown, None where that is nothing; versions: those that are shown or
    went into it, the earliest first; rule: in words, why; failed: why a merge module had to be passed over, or None."""

    def __init__(self, kind: str, value: "bytes | None", versions: "Sequence[Version]", rule: str, failed: "str | None" = None) -> None:
        self.kind = kind
        self.value = value
        self.versions = versions
        self.rule = rule
        self.failed = failed


class Conflict:
    """Siblings of one key, at least two. topic, partition, key: where."""

    def __init__(self, topic: str, partition: int, key: bytes, siblings: "Iterable[Version]") -> None:
        self.topic = topic
        self.partition = partition
        self.key = key
        self.siblings = join(siblings)
        if len(self.siblings) < 2:
            raise UsageError("%d versions of %r stand: that is no conflict" % (len(self.siblings), key))

    @property
    def type(self) -> str:
        """One of CONFLICT_TYPES. Edges count as one side: roles are relative where edges stand behind an edge."""
        values = [version.value for version in self.siblings]
        if all([value == values[0] for value in values]):
            return ORDERING
        if None not in values:
            return CONCURRENT_WRITE
        deleted = [version.side for version in self.siblings if version.value is None]
        return DELETE_UPDATE if _EDGE in deleted else UPDATE_DELETE


class ConflictResolver:
    """strategy: one of topic.STRATEGIES; merge: for custom_merge, and only for it. counts: how often each kind of resolution came out;
    merge_failures: how often a merge had to be passed over. Raises UsageError for what does not fit together."""

    def __init__(self, strategy: str, merge: "Merge | None" = None) -> None:
        if strategy not in STRATEGIES:
            raise UsageError("strategy %r is not known; there are: %s" % (strategy, ", ".join(STRATEGIES)))
        if (merge is not None) != (strategy == _CUSTOM):
            raise UsageError("%s %s a merge module" % (strategy, "needs" if strategy == _CUSTOM else "takes no"))
        self.strategy = strategy
        self.counts: "dict[str, int]" = {}
        self.merge_failures = 0
        self._merge = merge

    def resolve(self, conflict: Conflict) -> Resolution:
        """What is shown of these siblings."""
        siblings = conflict.siblings
        if self.strategy == _BOTH:
            resolution = _all_of(siblings, "keep_both shows every version that nobody has superseded")
        elif self._merge is not None:
            resolution = self._merged(conflict.key, siblings, self._merge)
        else:
            resolution = self._one_of(siblings)
        self.counts[resolution.kind] = self.counts.get(resolution.kind, 0) + 1
        return resolution

    def resolve_batch(self, conflicts: "Iterable[Conflict]") -> "list[Resolution]":
        return [self.resolve(conflict) for conflict in conflicts]

    def _one_of(self, siblings: "Sequence[Version]") -> Resolution:
        if self.strategy == _FIRST:
            winner = min(siblings, key=_earliness)
            return _only(winner, siblings, "first_write_wins: the earliest stamp of a clock that was set")
        if self.strategy == _LAST:
            return _only(siblings[-1], siblings, "last_write_wins: the latest stamp of a clock that was set")
        side = _CLOUD if self.strategy == _CLOUD_WINS else _EDGE
        among = [version for version in siblings if version.side == side]
        if among:
            return _only(among[-1], siblings, "%s: the latest that the %s wrote" % (self.strategy, side))
        return _only(siblings[-1], siblings, "%s: the %s wrote none of these, so the latest" % (self.strategy, side))

    def _merged(self, key: bytes, siblings: "Sequence[Version]", merge: "Merge") -> Resolution:
        """A fold in the total order. What is raised may be anything: the module is the user's."""
        value = siblings[0].value
        try:
            for version in siblings[1:]:
                value = merge(key, value, version.value)
                if value is not None and not isinstance(value, (bytes, bytearray)):
                    raise TypeError("it returned %s, not bytes or None" % type(value).__name__)
                if value is not None and len(value) > MERGED_BYTES_MAX:
                    raise ValueError("it returned %d bytes; at most %d are allowed" % (len(value), MERGED_BYTES_MAX))
        except Exception as error:
            self.merge_failures += 1
            failed = "%s: %s" % (type(error).__name__, error)
            return _all_of(siblings, "custom_merge failed, so every version is shown", failed)
        if value is None:
            return Resolution(DROP, None, siblings, "custom_merge: deleted")
        return Resolution(MERGED, bytes(value), siblings, "custom_merge: all of them, the earliest first")


def _earliness(version: Version) -> "tuple[object, ...]":
    return (not version.order[0],) + version.order[1:]


def _only(winner: Version, siblings: "Sequence[Version]", rule: str) -> Resolution:
    if not all([version.trusted == winner.trusted for version in siblings]):
        rule += " (a clock that was not set loses)"
    if winner.value is None:
        return Resolution(DROP, None, (winner,), rule)
    return Resolution(USE_CLOUD if winner.side == _CLOUD else USE_EDGE, winner.value, (winner,), rule)


def _all_of(siblings: "Sequence[Version]", rule: str, failed: "str | None" = None) -> Resolution:
    """All are shown; where one value is asked for, it is the latest that is none of a deletion."""
    standing = [version for version in siblings if version.value is not None]
    if not standing:
        return Resolution(DROP, None, siblings, rule, failed)
    return Resolution(BOTH, standing[-1].value, siblings, rule, failed)
