"""What a log must remember beside its batches: one small CBOR array in two slots.

Rule: everything here can be rebuilt from the segments or is repeated by the other side, except gaps, the seal, and what producers stored
before the checkpoint; those are saved before anything depends on them. Knows nothing of segments' contents.
"""

from . import cbor
from .batch import OFFSET_MAX
from .errors import ProtocolError
from .gaps import Gaps
from .lineage import ENTRIES_MAX
from .producers import Producers
from .slots import Slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .lineage import Lineage
    from .ports import Storage

_VERSION = 1
PRODUCERS_SAVED_MAX = 512  # with the gaps and the lineage as many items as CBOR may hold here (cbor.ITEMS_MAX)
ORDINAL_MAX = (1 << 32) - 1
GAPS_SAVED_MAX = 256  # the oldest; the rest lie in segments that are still there, and a reader finds them again


class LogState:
    """sealed_at: where the epoch ended, -1 while it is open. checkpoint: segments with a base below it were walked
    and are whole. acked: below it all is committed by the other side or lost. lost: what the other side counts as
    lost, by cause. ordinal: which epoch of this (topic, partition) it is here, counted from 0; only for the order of
    local reading. provisional: its predecessor may not be sealed yet, and then it does not count. starts_at: its first
    offset, 0 but for a feed that was rewound. continues: (epoch, offset where that was sealed) of its predecessor, so that
    one rotten slot there costs nothing. reported: the highest end that the other side may have been told of; of a sealed
    epoch, that it knows of: what lies above sealed_at was on a disk that is gone."""

    def __init__(self, storage: "Storage", folder: str, producers_max: int) -> None:
        self.slots = Slots(storage, folder + "/state")
        self.sealed_at = -1
        self.checkpoint = 0
        self.acked = 0
        self.reported = 0
        self.ordinal = 0
        self.provisional = False
        self.starts_at = 0
        self.continues: "tuple[int, int] | None" = None
        self.lost: "dict[str, int]" = {}
        self.lineage: "Lineage" = []
        self.gaps = Gaps()
        self.producers = Producers(producers_max)
        self._checkpoints: "list[tuple[int, int]]" = []  # (version, checkpoint) of saves that raised it and may not be durable yet
        self._durable_checkpoint = 0

    @property
    def durable_checkpoint(self) -> int:
        """The checkpoint that recovery would find if the power went now."""
        while self._checkpoints and self._checkpoints[0][0] <= self.slots.durable_version:
            self._durable_checkpoint = self._checkpoints.pop(0)[1]
        return self._durable_checkpoint

    def load(self) -> bool:
        """True if there was a saved state (and this build can read it)."""
        content = self.slots.load()
        if content is None:
            return False
        try:
            row = cbor.decode(content)
        except ProtocolError:
            return False
        if not _readable(row):
            return False
        self.sealed_at, self.checkpoint, self.acked, self.reported, ordinal = row[1:6]
        self._checkpoints = [(self.slots.version + 1, self.checkpoint)]  # what was loaded is durable for sure when the next save is
        self.provisional = ordinal < 0
        self.ordinal = -1 - ordinal if ordinal < 0 else ordinal
        self.lost = {cause: n for cause, n in row[6]}
        self.lineage = [(term, first) for term, first in row[7]]
        for first, next_, cause in row[8]:
            self.gaps.add(first, next_, cause)
        self.producers.load(row[9])
        self.continues = (row[10][0], row[10][1]) if row[10] is not None else None
        self.starts_at = row[11] if len(row) > 11 else 0
        return True

    def save(self) -> int:
        """Ask for it to be kept; returns the version to wait for (`slots.durable_version`)."""
        row: "tuple[object, ...]" = (
            _VERSION,
            self.sealed_at,
            self.checkpoint,
            self.acked,
            self.reported,
            -1 - self.ordinal if self.provisional else self.ordinal,
            sorted(self.lost.items()),
            self.lineage,
            self.gaps.rows[:GAPS_SAVED_MAX],
            self.producers.to_wire()[-PRODUCERS_SAVED_MAX:],
            self.continues,
        )
        if self.starts_at:
            row += (self.starts_at,)
        version = self.slots.save(cbor.encode(row))
        if self.checkpoint > (self._checkpoints[-1][1] if self._checkpoints else self._durable_checkpoint):
            self._checkpoints.append((version, self.checkpoint))
        return version


def _readable(row: "Any") -> bool:
    """Whether it is what `save` writes: the CRC of a slot says that somebody wrote it, not that it was this build."""
    if not isinstance(row, list) or len(row) < 11 or row[0] != _VERSION:
        return False
    sealed_at, ordinal, lineage = row[1], row[5], row[7]
    if len(row) > 11 and not _is_offset(row[11]):
        return False
    if row[10] is not None and not _are_rows([row[10]], "uo"):
        return False
    if not (_is_offset(sealed_at) or (type(sealed_at) is int and sealed_at == -1)):
        return False
    if not all([_is_offset(n) for n in row[2:5]]) or type(ordinal) is not int or not -1 - ORDINAL_MAX <= ordinal <= ORDINAL_MAX:
        return False
    if not (_are_rows(row[6], "su") and _are_rows(lineage, "uo") and _are_rows(row[8], "oos") and _are_rows(row[9], "uuoo")):
        return False
    return len(lineage) <= ENTRIES_MAX and all([lineage[i][1] < lineage[i + 1][1] for i in range(len(lineage) - 1)])


def _are_rows(rows: object, kinds: str) -> bool:
    """Whether `rows` is a list of rows of these kinds: s = text, u = 0 to 2^64 - 1, o = an offset."""
    if not isinstance(rows, list):
        return False
    for row in rows:
        if not isinstance(row, list) or len(row) != len(kinds):
            return False
        for i in range(len(kinds)):
            item = row[i]
            if kinds[i] == "s":
                if not isinstance(item, str):
                    return False
            elif type(item) is not int or item < 0 or (kinds[i] == "o" and item > OFFSET_MAX):
                return False
    return True


def _is_offset(value: object) -> bool:
    return type(value) is int and 0 <= value <= OFFSET_MAX
