"""What lies in a data directory and belongs to no topic of the configuration: of a topic that was taken out, or has fewer partitions, or of
another node id.

Rule: it is told, never touched: some of it may be owed to the cloud, and only whoever changed the configuration knows whether it matters.
Must not know: what a log holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from streamline_core.segments import list_segments, segment_name

if TYPE_CHECKING:
    from .posix_storage import PosixStorage

TOLD_MAX = 8


class Leftover(NamedTuple):
    """folder: below the data directory; size: bytes of its segments."""

    folder: str
    size: int


def find(storage: PosixStorage, known: Iterable[str]) -> list[Leftover]:
    """known: folders of the logs that are in use."""
    used, found = set(known), []
    for topic in storage.list(""):
        for stream in storage.list(topic):
            folder = f"{topic}/{stream}"
            if folder not in used:
                size = sum(
                    max(0, storage.size(segment_name(folder, base, compacted)))
                    for compacted in (False, True)
                    for base in list_segments(storage, folder, compacted)
                )
                if size:
                    found.append(Leftover(folder, size))
    return found


def problems(leftovers: list[Leftover]) -> list[str]:
    """In words, for whom it concerns."""
    text = "%s: %d bytes of a topic, partition or node id that is not configured any more: not sent, not counted; configure it again, or %s"
    told = [text % (it.folder, it.size, "remove that folder of the data directory") for it in leftovers[:TOLD_MAX]]
    return told + [f"{len(leftovers) - TOLD_MAX} more such folders"] * (len(leftovers) > TOLD_MAX)
