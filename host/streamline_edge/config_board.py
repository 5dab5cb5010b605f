"""A configuration for a board: what a MicroPython node takes of this one's, as a file of JSON.

Rule: what a board would refuse, or could not keep its word on, is an error; what it merely does otherwise is a note. Paths of this machine
mean nothing there: a file is named as it is to be called on the board. What is not set stays unset, but for what a small heap demands.
"""

from __future__ import annotations

import copy
from pathlib import PurePath
from typing import Any, NamedTuple

from streamline_core.config import ConfigError, EdgeConfig
from streamline_core.config_values import LINE_SCHEMES
from streamline_core.errors import UsageError
from streamline_core.serial_packets import payload_bytes_of
from streamline_core.serial_url import SerialUrl

from .config_paths import FILE_KEYS
from .config_reading import Reading

# As firmware/streamline_board/configuration.py has them.
BOARD_DEFAULTS = {"frame_bytes_max": 4096}
BOARD_LOG_DEFAULTS = {
    "segment_bytes": 65536, "commit_interval_ms": 50, "buffer_bytes": 1048576, "producers_max": 8,
    "cursor_interval_ms": 600000,  # small files wear a flash the most
}  # fmt: skip
BOARD_SEGMENTS_MAX = 256
BOARD_SCHEMES = ("mqtt", "mqtts")
# What a board has no use for, and why.
LEFT_OUT = {
    ("broker",): "a board has no broker for devices",
    ("broker_listen",): "a board has no broker for devices",
    ("broker_password_file",): "a board has no broker for devices",
    ("ingest",): "a board has no broker for devices",
    ("serial",): "a board carries no other node",
    ("data_dir",): "it is a path of this machine; the board has its own",
    ("resources", "max_file_descriptors"): "a board counts none",
    ("resources", "max_connections"): "a board has one",
}


class BoardConfig(NamedTuple):
    """given: in the shape of edge.yaml. notes: what is otherwise than one may expect, a line each."""

    given: dict[str, Any]
    notes: list[str]


def board_config(reading: Reading) -> BoardConfig:
    """reading: checked. Raises: UsageError with all that a board would refuse."""
    given, notes, problems = copy.deepcopy(reading.given), list[str](), list[str]()
    for (*sections, key), why in LEFT_OUT.items():
        holder: Any = given
        for section in sections:
            holder = holder.get(section) or {}
        if holder.pop(key, None) is not None:
            notes.append(f"{'.'.join((*sections, key))} is left out: {why}")
    _files(given, reading.config, notes)
    _link(given, reading.config, problems)
    _sync(given, reading.config, notes, problems)
    _merges(given, notes, problems)
    for key, default in BOARD_DEFAULTS.items():
        given.setdefault(key, default)
    _frames(given, reading, problems)
    given["log"] = BOARD_LOG_DEFAULTS | (given.get("log") or {})
    _segments(given, reading, problems)
    if not problems:
        try:
            EdgeConfig.from_dict(given)
        except ConfigError as e:
            problems += str(e).splitlines()
    if problems:
        raise UsageError("\n".join(f"for a board: {text}" for text in problems))
    return BoardConfig(given, notes)


def _segments(given: dict[str, Any], reading: Reading, problems: list[str]) -> None:
    """A board remembers where each segment begins: so they are larger where there is much storage."""
    if (given.get("resources") or {}).get("max_storage") is None:
        return
    most, log = reading.config.resources.max_storage, reading.given.get("log") or {}
    if log.get("segment_bytes") is None:
        while most // given["log"]["segment_bytes"] > BOARD_SEGMENTS_MAX:
            given["log"]["segment_bytes"] *= 2
    elif most // reading.config.log.segment_bytes > BOARD_SEGMENTS_MAX:
        least = -(-most // BOARD_SEGMENTS_MAX)
        problems.append(f"log.segment_bytes: it remembers {BOARD_SEGMENTS_MAX} of resources.max_storage; use at least {least}")


def _files(given: dict[str, Any], config: EdgeConfig, notes: list[str]) -> None:
    for key in FILE_KEYS:
        if given.get(key) is not None:
            path = getattr(config, key)
            given[key] = PurePath(path).name
            notes.append(f"{key}: copy {path} to the board as {given[key]}, beside its configuration")


def _link(given: dict[str, Any], config: EdgeConfig, problems: list[str]) -> None:
    if config.cloud_endpoint is None:
        return
    scheme, _, rest = config.cloud_endpoint.partition("://")
    if scheme in LINE_SCHEMES:
        try:
            SerialUrl(config.cloud_endpoint)
        except UsageError as e:
            problems.append(str(e))
        return
    if scheme not in BOARD_SCHEMES:
        known = ", ".join(f"{one}://" for one in (*BOARD_SCHEMES, *LINE_SCHEMES))
        problems.append(f"cloud_endpoint: it takes {known}, not {scheme}://")
    elif scheme == "mqtts" and config.ca_file is None:
        problems.append("ca_file: is missing; without it a board cannot know who the broker is")
    given["cloud_endpoint"] = f"{scheme}://{rest.rpartition('@')[2]}"  # a board's user is its node_id


def _frames(given: dict[str, Any], reading: Reading, problems: list[str]) -> None:
    """No larger than what a slow line carries in time."""
    try:
        baud = SerialUrl(reading.config.cloud_endpoint or "").baud
    except UsageError:
        return  # no line, or one that is refused anyway
    if not baud:
        return
    most = payload_bytes_of(baud)
    if reading.given.get("frame_bytes_max") is None:
        given["frame_bytes_max"] = min(given["frame_bytes_max"], most)
    elif reading.config.frame_bytes_max > most:
        problems.append(
            f"frame_bytes_max: {reading.config.frame_bytes_max} bytes take too long at {baud} baud; use at most {most}, or a faster line"
        )


def _sync(given: dict[str, Any], config: EdgeConfig, notes: list[str], problems: list[str]) -> None:
    sync = given["sync"] = dict(given.get("sync") or {})
    if sync.get("compression") == "zstd":
        notes.append("sync.compression is deflate: a board has no zstd")
    if config.sync.compression == "zstd":
        sync["compression"] = "deflate"
    if config.sync.windows:
        notes.append("sync.windows: a board counts them in UTC")
    condition = sync.get("condition")
    if condition is not None:
        if condition.startswith("command:"):
            problems.append("sync.condition: it runs no commands; use file: or no file:")
        else:
            notes.append(f"sync.condition: {condition.partition(':')[2].strip()} is looked for on the board")


def _merges(given: dict[str, Any], notes: list[str], problems: list[str]) -> None:
    lists = [entry for name in ("sync_topics", "local_topics") for entry in given.get(name) or () if isinstance(entry, dict)]
    for holder in [given, *lists]:
        merge = holder.get("merge")
        if merge is None:
            continue
        kind, _, path = merge.partition(":")
        if kind != "python":
            problems.append(f"merge: {merge}: it runs no WebAssembly; use python:FILE.py")
        elif path.endswith(".py"):
            holder["merge"] = f"python:{PurePath(path).name}"
            notes.append(f"merge: copy {path} to the board as {PurePath(path).name}, beside its configuration")
