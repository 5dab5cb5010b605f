"""Why a key shows what it shows, in a form that JSON can carry.

Rule: it tells what the core decided, and decides nothing. Bytes are text where they are UTF-8, else {"base64": …}; a time that nobody
knows is null. Must not know: who asks, calendars of people.
"""

from binascii import b2a_base64

from .conflict import Conflict
from .errors import ProtocolError
from .utf8 import decode_utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .keyed import KeyedPartition
    from .version import Version

    Bytes = str | dict[str, str] | None

_DAY_MS = 86400000
_TIME_MS_MAX = 253402300800000  # the year 10000


def explain(keyed: "KeyedPartition", key: bytes) -> "dict[str, Any]":
    """topic, partition, key, strategy; shown: its value, null where it was never written or is deleted; versions: what nobody has
    superseded, the earliest first; conflict: null where no two stand, else type, resolution (what kind it is), rule (why, in words),
    winners (names of versions) and merge_failure. A version has the name node/epoch@offset. Raises CorruptRecord, OSError."""
    versions, resolution = keyed.resolve(key)
    found: "dict[str, Any]" = {"topic": keyed.topic, "partition": keyed.number, "key": json_value(key)}
    found["strategy"] = keyed.resolver.strategy
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


def _version(version: "Version") -> "dict[str, Any]":
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


def json_value(data: "bytes | None") -> "Bytes":
    """Text where the bytes are UTF-8, else {"base64": …}; None stays None."""
    if data is None:
        return None
    try:
        return decode_utf8(data)
    except ProtocolError:
        return {"base64": b2a_base64(data).decode().rstrip()}


def rfc3339(time_ms: int) -> "str | None":
    """Such as 2030-01-31T12:00:00.000Z; None for what no calendar has. time_ms: since 1970 UTC."""
    if not 0 <= time_ms < _TIME_MS_MAX:
        return None
    days, ms = divmod(time_ms, _DAY_MS)
    # Howard Hinnant's civil_from_days: years begin in March, so that the odd day is the last one.
    era, day = divmod(days + 719468, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    month += 3 if month < 10 else -9
    year += era * 400 + (1 if month <= 2 else 0)
    secs, ms = divmod(ms, 1000)
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (year, month, day, secs // 3600, secs // 60 % 60, secs % 60, ms)
