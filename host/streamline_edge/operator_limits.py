"""The limits that an operator has set on a running agent: they come before the configuration's, over restarts.

Rule: the file in the data directory is whole or not there; one that cannot be read is refused, never ignored: it may hold a limit that a
disk depends on. Knows nothing of what the limits do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ujson

from streamline_core.errors import UsageError
from streamline_core.resources import KINDS

from .data_dir import LIMITS_NAME
from .posix_files import fsync_folder

FILE_BYTES_MAX = 4096
POLICY = "eviction_policy"


def read(data_dir: str) -> dict[str, Any]:
    """{kind: limit, "eviction_policy": policy}; empty where nothing was set. Raises: UsageError."""
    path = Path(data_dir) / LIMITS_NAME
    try:
        with path.open("rb") as file:
            limits = ujson.loads(file.read(FILE_BYTES_MAX))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        raise UsageError(f"{path}: cannot be read ({e}); remove it, and set the limits again") from None
    known = (*KINDS, POLICY)
    if not isinstance(limits, dict) or not all(
        key in known and (isinstance(value, str) if key == POLICY else type(value) is int) for key, value in limits.items()
    ):
        raise UsageError(f"{path}: this is no list of limits; remove it, and set the limits again")
    return limits


def write(data_dir: str, limits: dict[str, Any]) -> None:
    """Keep `limits`; none: those of the configuration hold again. Raises: OSError."""
    path = Path(data_dir) / LIMITS_NAME
    if not limits:
        path.unlink(missing_ok=True)
    else:
        beside = path.with_suffix(".new")
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, ujson.dumps(limits).encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        beside.rename(path)
    fsync_folder(path.parent)
