"""The file with the limits that an operator has set on a running agent.

Rule: the file in the data directory is whole or not there. What is in it, the core says (`streamline_core.operator_limits`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ujson

from streamline_core.operator_limits import FILE_BYTES_MAX, LIMITS_NAME, POLICY, parse, refused

from .posix_files import fsync_folder, replace_file

__all__ = ["POLICY", "read", "write"]


def read(data_dir: str) -> dict[str, Any]:
    """{kind: limit, "eviction_policy": policy}; empty where nothing was set. Raises: UsageError."""
    path = Path(data_dir) / LIMITS_NAME
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):  # who opens the data directory says what it is
        return {}
    except OSError as e:
        raise refused(str(path), f"cannot be read ({e})") from None
    try:
        return parse(text)
    except ValueError as e:
        raise refused(str(path), f"this is no list of limits ({e})") from None


def write(data_dir: str, limits: dict[str, Any]) -> None:
    """Keep `limits`; none: those of the configuration hold again. Raises: OSError."""
    path = Path(data_dir) / LIMITS_NAME
    if limits:
        replace_file(path, ujson.dumps(limits).encode())
    else:
        path.unlink(missing_ok=True)
        fsync_folder(path.parent)
