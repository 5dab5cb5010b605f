"""What replicas of keyed topics send each other besides batches: differences of values, levels of digests.

Rule: a difference gives the target that it was made from, or CorruptRecord, and never more than was allowed; a level has the buckets that
it says, or is a ProtocolError. Must not know: frames, sessions.
"""

import binascii
from typing import Any

from fuzz.fields import Fields, Script
from fuzz.target import REFUSED, Target, attempt
from streamline_core.difference import VALUE_BYTES_MAX, apply, make
from streamline_core.digest import DIGESTS_MAX, Level, bucket_of, differing, digests, hash_set, plan
from streamline_core.errors import CorruptRecord, ProtocolError

BASE = b'{"id": 17, "name": "pump", "bar": 3.25, "on": true, "since": "2024-05-01"}'
BYTES_MAX = (0, 1, 64, 4096, VALUE_BYTES_MAX, 1 << 40)


def run_difference(data: bytes) -> None:
    """A base, and bytes that need be no difference to it."""
    fields = Fields(data)
    bytes_max, base = fields.pick(BYTES_MAX), fields.blob()
    difference = fields.rest()
    found = attempt(CorruptRecord, apply, base, difference, bytes_max)
    if found is not REFUSED:
        assert len(found) <= min(bytes_max, VALUE_BYTES_MAX)
        assert binascii.crc32(found) == int.from_bytes(difference[-4:], "little")
    again = attempt(CorruptRecord, apply, memoryview(bytearray(base)), memoryview(difference), bytes_max)
    assert again == found


def difference_seeds() -> list[bytes]:
    targets = (BASE.replace(b"3.25", b"3.5"), BASE[:30], BASE[20:] + BASE[:40], BASE + b"more")
    made = [(target, make(BASE, target, len(target))) for target in targets]
    return [bytes(Script().byte(3).blob(BASE).raw(difference)) for _, difference in made if difference is not None]


def edited(fields: Fields, base: bytes) -> bytes:
    """The base with pieces removed, repeated, moved or written anew, as the fields say."""
    value = base
    for _ in range(fields.below(12)):
        kind, at, size = fields.below(4), fields.unsigned(12) % (len(value) + 1), fields.unsigned(8)
        piece = value[at : at + size]
        if kind == 0:
            value = value[:at] + value[at + size :]
        elif kind == 1:
            value = value[:at] + fields.blob() + value[at:]
        else:
            to = fields.unsigned(12) % (len(value) + 1)
            value = value[:to] + piece + value[to:]
    return value


def run_edited(data: bytes) -> None:
    """A base and what became of it: the difference gives it again, and a broken one gives nothing else."""
    fields = Fields(data)
    base = fields.blob() * (1 + fields.below(8))
    target = edited(fields, base) if fields.below(4) else fields.blob() * fields.below(8)
    bytes_max = fields.pick((len(target), 40, len(target) // 2))
    difference = make(base, target, bytes_max)
    if difference is None:
        return
    assert len(difference) <= bytes_max and len(difference) < len(target)
    assert apply(base, difference, len(target)) == target
    assert attempt(CorruptRecord, apply, base, difference, len(target) - 1) is REFUSED
    broken = bytearray(difference)
    broken[fields.unsigned(12) % len(broken)] ^= 1 << fields.below(8)
    assert attempt(CorruptRecord, apply, base, broken, len(target)) in (REFUSED, target)


def edited_seeds() -> list[bytes]:
    one = Script().blob(BASE).byte(2, 1, 2).byte(0).number(30, 5).byte(2).number(10, 40, 70)
    return [bytes(one), bytes(Script().blob(bytes(200)).byte(7, 1, 1, 1).number(90, 0).blob(b"1")), bytes(Script().blob(b"ab").byte(7, 0))]


def run_level(data: bytes) -> None:
    """A level as a peer names it, its digests, a list of hashes; and what would be asked next."""
    fields = Fields(data)
    bits, parents, parents_bits, keys = fields.value(), fields.value(), fields.value(), fields.unsigned(32)
    sent = fields.blob()
    found = attempt(ProtocolError, hash_set, sent)
    assert found is REFUSED or len(found) <= min(DIGESTS_MAX, len(sent) // 8)
    level: Any = attempt(ProtocolError, Level, bits, parents, parents_bits) if isinstance(parents, list) else REFUSED
    if level is REFUSED:
        return
    assert 0 < level.count <= DIGESTS_MAX
    assert [level.bucket(i) >> (level.bits - level.parents_bits) for i in range(0, level.count, 1 << level.deeper)] == parents
    mine = digests([(b"%d" % i, [("n", 1, i, False)]) for i in range(5)], level)
    assert len(mine) == 8 * level.count
    for i in range(5):
        position = level.position(b"%d" % i)
        assert position < 0 or level.bucket(position) == bucket_of(b"%d" % i, level.bits)
    positions = attempt(ProtocolError, differing, mine, (sent + bytes(len(mine)))[: len(mine)])
    assert positions is not REFUSED
    for next_ in plan(level, positions[0], keys):
        assert next_.count <= DIGESTS_MAX and next_.parents_bits == level.bits


def level_seeds() -> list[bytes]:
    rows: list[tuple[int, list[int], int]] = [(0, [0], 0), (8, [0], 0), (6, [1, 4, 7], 3), (24, [0, (1 << 24) - 1], 24), (3, [2, 1], 2)]
    return [bytes(Script().value(a).value(b).value(c).number(10000).blob(bytes(range(16)))) for a, b, c in rows]


TARGETS = (
    Target("difference", run_difference, difference_seeds, "apply of a difference, on any base and any bytes"),
    Target("edited", run_edited, edited_seeds, "make and apply on values that changed in any way"),
    Target("level", run_level, level_seeds, "levels, digests and lists of hashes as a peer sends them"),
)
