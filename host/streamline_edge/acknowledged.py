"""Losses that an operator has taken note of: health tells of them no more, the ledger goes on counting them.

Rule: what is acknowledged is a number for each stream and cause; whatever is lost beyond it is told again. A file that cannot be read
acknowledges nothing. Must not know: why something was lost, or whether that matters.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import ujson

from .posix_files import replace_file

log = logging.getLogger("streamline.agent")

NAME = "acknowledged.json"
"""In the data directory."""
FILE_BYTES_MAX = 1 << 20

Row = dict[str, Any]  # of the ledger


class Acknowledged:
    """data_dir: of the agent. counts: {stream: {cause: records}}."""

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        self._path = Path(data_dir) / NAME
        self.counts: dict[str, dict[str, int]] = _read(self._path)

    def beside(self, rows: list[Row]) -> list[Row]:
        """The same rows, with what is lost beyond what is acknowledged."""
        return [self._beyond(row) if _name(row) in self.counts else row for row in rows]

    def _beyond(self, row: Row) -> Row:
        known, told = dict(self.counts[_name(row)]), dict(row)
        for column in ("lost", "unconfirmed"):  # in time, what the cloud has not confirmed becomes what it has
            told[column] = dict(row[column])
            for cause, count in row[column].items():
                taken = min(count, known.get(cause, 0))
                told[column][cause] = count - taken
                known[cause] = known.get(cause, 0) - taken
        return told

    def take(self, rows: list[Row]) -> int:
        """Acknowledge all that is lost by now, durably. Returns how many records that are more than before. Raises OSError."""
        new = sum(sum(_lost(row).values()) for row in self.beside(rows))
        counts = {_name(row): lost for row in rows if (lost := _lost(row))}
        replace_file(self._path, ujson.dumps(counts).encode())
        self.counts = counts
        return new


def _name(row: Row) -> str:
    return f"{row['node']}/{row['topic']}/{row['partition']}/{row['epoch']}"


def _lost(row: Row) -> dict[str, int]:
    """By cause, where there is any."""
    counts: dict[str, int] = {}
    for column in ("lost", "unconfirmed"):
        for cause, count in row[column].items():
            if count:
                counts[cause] = counts.get(cause, 0) + count
    return counts


def _read(path: Path) -> dict[str, dict[str, int]]:
    try:
        with path.open("rb") as file:
            said = ujson.loads(file.read(FILE_BYTES_MAX))
        return {str(name): {str(cause): int(count) for cause, count in counts.items()} for name, counts in said.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as e:
        log.warning("%s cannot be read (%s): no loss is acknowledged", path, e)
        return {}
