"""Why a key shows what it shows, in a form that JSON can carry.

Rule: it tells what the core decided, and decides nothing. Bytes are text where they are UTF-8, else {"base64": …}; a time that nobody
knows is null.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from streamline_core.conflict import Conflict

if TYPE_CHECKING:
    from streamline_core.keyed import KeyedPartition
    from streamline_core.version import Version

    Bytes = str | dict[str, str] | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def explain(keyed: KeyedPartition, key: bytes) -> dict[str, Any]:
    """topic, partition, key, strategy; shown: its value, null where it was never written or is deleted; versions: what nobody has
    superseded, the earliest first; conflict: null where no two stand, else type, resolution (what kind it is), rule (why, in words),
    winners (names of versions) and merge_failure. A version has the name node/epoch@offset. Raises CorruptRecord, OSError."""
    versions, resolution = keyed.resolve(key)
    found: dict[str, Any] = {"topic": keyed.topic, "partition": keyed.number, "key": json_value(key), "strategy": keyed.resolver.strategy}
    found["shown"] = json_value(resolution.value if resolution is not None else versions[0].value if versions else None)
    found["versions"] = [_version(version) for version in versions]
    found["conflict"] = None
    if resolution is not None:
        found["conflict"] = {
            "type": Conflict(keyed.topic, keyed.number, key, versions).type,
            "resolution": resolution.kind,
            "rule": resolution.rule,
            "winners": [repr(version) for version in resolution.versions],
            "merge_failure": resolution.failed,
        }
    return found


def _version(version: Version) -> dict[str, Any]:
    """trusted: whether the clock of its writer was set; demoted: whether the cloud holds its stamp for absurd; seen: up to which offset
    its writer had seen the writes of others of this key."""
    return {
        "version": repr(version),
        "value": json_value(version.value),
        "deleted": version.value is None,
        "node": version.origin,
        "epoch": "%08x" % version.epoch,
        "offset": version.offset,
        "side": version.side,
        "time": rfc3339(version.hlc >> 16) if version.trusted else None,
        "hlc": "%016x" % version.hlc,
        "trusted": version.trusted,
        "demoted": version.demoted,
        "seen": [
            {"node": origin, "epoch": "%08x" % epoch, "next": version.context[origin, epoch]} for origin, epoch in sorted(version.context)
        ],
    }


def json_value(data: bytes | None) -> Bytes:
    """Text where the bytes are UTF-8, else {"base64": …}; None stays None."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def rfc3339(time_ms: int) -> str | None:
    """Such as 2030-01-31T12:00:00.000Z; None for what no calendar has."""
    try:
        return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return None
