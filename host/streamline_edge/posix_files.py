"""What POSIX leaves to its users: whole writes, and names that survive a power cut.

Rule: a call that returns has done all of it. Knows nothing of tickets and queues.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

IOV_MAX = min(1024, os.sysconf("SC_IOV_MAX") if "SC_IOV_MAX" in os.sysconf_names else 16)


def write_all(fd: int, chunks: Sequence[bytes]) -> None:
    """Write every byte of `chunks` at the end of `fd`, IOV_MAX chunks a call. Raises: OSError."""
    start = 0
    while start < len(chunks):
        part: list[bytes | memoryview] = list(chunks[start : start + IOV_MAX])
        start += len(part)
        while part:
            written = os.writev(fd, part)
            if written == sum(map(len, part)):
                break
            while part and written >= len(part[0]):
                written -= len(part.pop(0))
            if written:
                part[0] = memoryview(part[0])[written:]


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in the place of a file, or make it, readable for its owner alone: after a power cut it is the old one or the new one.
    Raises OSError."""
    beside = path.with_suffix(".new")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, [data])
        os.fsync(fd)
    finally:
        os.close(fd)
    beside.rename(path)
    fsync_folder(path.parent)


def open_for_append(path: Path, created: list[Path]) -> int:
    """Open for appending; adds to `created` each folder that got a new name in it."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        missing = [p for p in path.parents if not p.exists()]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        created.extend([path.parent, *(p.parent for p in missing)])
        return os.open(path, flags | os.O_CREAT, 0o600)
