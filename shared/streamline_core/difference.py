"""The difference between two values of a key, of which the second is the first with little changed: most of it is copied.

Layout, all numbers LEB128: the size of the target; then instructions, until 4 bytes are left; then the CRC-32 of the target, 4 bytes,
little-endian. An instruction begins with size * 2 + copy, size at least 1. copy = 0: so many bytes follow, and are inserted. copy = 1: a
number d follows, and so many bytes of the base are copied, from where the last copy ended in it (0 before the first) + d / 2 where d is
even, - (d + 1) / 2 where d is odd. Together they give the size of the target, neither more nor less.

Rule: who applies a difference ends with the target or with CorruptRecord, never with something else, whatever base and bytes there are
(but for one chance in 2^32); work and memory are linear in base and target on both sides. Knows nothing of keys, of versions, or of who has
which base.
"""

import binascii
import struct
from array import array

from .errors import CorruptRecord
from .record import get_varint
from .record_encoder import put_varint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ports import Buffer

VALUE_BYTES_MAX = 65536  # of base and of target: blocks are numbered in 16 bits, and the search takes time
BLOCK_BYTES = 16  # the base is known by its blocks, so what both have in common is found for sure from 31 bytes on
CANDIDATES_MAX = 4  # places of the base that are tried for one block of the target: in zeros, all places look alike
SEARCH_BYTES_MIN = 32  # what is shorter between the common beginning and the common end is inserted as it is
_COPY_BYTES_MIN = 5  # a copy costs up to that
_CRC_BYTES = 4

# The hash of a block rolls: h = sum of byte[i] * FACTOR^(15 - i) modulo 2^22, so that no product needs more than 30 bits.
_MASK = (1 << 22) - 1
_FACTOR = 101
_LEAVING = _FACTOR ** (BLOCK_BYTES - 1) & _MASK


def make(base: "Buffer", target: "Buffer", bytes_max: int) -> "bytes | None":
    """The difference that `apply` turns into the target; None where it would have more than `bytes_max` bytes or not be shorter than
    the target, or where one of the two has more than VALUE_BYTES_MAX."""
    size = len(target)
    if len(base) > VALUE_BYTES_MAX or size > VALUE_BYTES_MAX:
        return None
    old, new = memoryview(base), memoryview(target)
    most = min(len(old), size)
    before = _common(old, 0, new, 0, most, False)
    after = _common(old, len(old), new, size, most - before, True)
    script = _Script(new, min(bytes_max, size - 1) - _CRC_BYTES)
    if before >= _COPY_BYTES_MIN:
        script.copy(0, 0, before)
    if after < _COPY_BYTES_MIN:
        after = 0
    if size - after - script.done >= SEARCH_BYTES_MIN:
        _search(script, old, size - after)
    if after:
        script.copy(len(old) - after, size - after, after)
    script.insert(size)
    if script.too_long(size):
        return None
    return bytes(script.out) + struct.pack("<I", binascii.crc32(target))


def apply(base: "Buffer", difference: "Buffer", bytes_max: int) -> bytes:
    """The target that `make` was given. Raises CorruptRecord where there is no such thing, be it that the difference is broken or that
    something else comes of this base, and where the target has more than `bytes_max` bytes."""
    end = len(difference) - _CRC_BYTES
    size, at = get_varint(difference, 0, end)
    if size > min(bytes_max, VALUE_BYTES_MAX):
        raise CorruptRecord("a difference of which %d bytes come; at most %d are allowed" % (size, min(bytes_max, VALUE_BYTES_MAX)))
    old, data = memoryview(base), memoryview(difference)
    out = bytearray(size)
    done = place = 0
    while at < end:
        count, at = get_varint(data, at, end)
        copy = count & 1
        count >>= 1
        if not 0 < count <= size - done:
            raise CorruptRecord("a difference of which more or less comes than the %d bytes that it promises" % size)
        if copy:
            moved, at = get_varint(data, at, end)
            place += -(moved >> 1) - 1 if moved & 1 else moved >> 1
            if not 0 <= place <= len(old) - count:
                raise CorruptRecord("a difference to a base that is longer than %d bytes" % len(old))
            out[done : done + count] = old[place : place + count]
            place += count
        else:
            if count > end - at:
                raise CorruptRecord("a difference that ends in the middle")
            out[done : done + count] = data[at : at + count]
            at += count
        done += count
    if done != size or binascii.crc32(out) != struct.unpack_from("<I", difference, end)[0]:
        raise CorruptRecord("a difference to another base, or a broken one: not the %d bytes that it promises" % size)
    return bytes(out)


class _Script:
    """The instructions so far. done: so much of the target comes of them; bytes_max: more instructions are of no use."""

    def __init__(self, new: memoryview, bytes_max: int) -> None:
        self.out = bytearray()
        self.done = 0
        self._new = new
        self._place = 0  # in the base, where the last copy ended
        self._bytes_max = bytes_max
        put_varint(self.out, len(new))

    def too_long(self, at: int) -> bool:
        """Whether it is, if all up to `at` in the target must be inserted."""
        return len(self.out) + at - self.done > self._bytes_max

    def insert(self, at: int) -> None:
        """What lies in the target between what is done and `at`."""
        if at > self.done and not self.too_long(at):  # else nobody will read it
            put_varint(self.out, (at - self.done) << 1)
            self.out.extend(self._new[self.done : at])
            self.done = at

    def copy(self, place: int, at: int, count: int) -> None:
        """`count` bytes from `place` in the base come to `at` in the target; what is missing before them is inserted."""
        self.insert(at)
        if self.done == at:
            put_varint(self.out, count << 1 | 1)
            moved = place - self._place
            put_varint(self.out, moved << 1 if moved >= 0 else (-moved << 1) - 1)
            self._place = place + count
            self.done = at + count


def _same(a: memoryview, i: int, b: memoryview, j: int, count: int, back: bool) -> bool:
    """Whether `count` bytes are the same in both: from i and j on, or those before them."""
    if back:
        return a[i - count : i] == b[j - count : j]
    return a[i : i + count] == b[j : j + count]


def _common(a: memoryview, i: int, b: memoryview, j: int, most: int, back: bool) -> int:
    """How many bytes are the same from i and j on (or before them), at most `most`: steps that double, and then halve."""
    n, step, sign = 0, BLOCK_BYTES, -1 if back else 1
    while n < most:
        step = min(step, most - n)
        if not _same(a, i + sign * n, b, j + sign * n, step, back):
            break
        n += step
        step <<= 1
    else:
        return n
    while step > 1:  # the next `step` bytes are not all the same
        half = step >> 1
        if _same(a, i + sign * n, b, j + sign * n, half, back):
            n += half
            step -= half
        else:
            step = half
    return n


def _hash(data: memoryview, at: int) -> int:
    h = 0
    for byte in data[at : at + BLOCK_BYTES]:
        h = h * _FACTOR + byte & _MASK
    return h


def _search(script: _Script, old: memoryview, end: int) -> None:
    """Copy what is found in the base of the target up to `end`; what is not found is left to whoever goes on with the script.

    Whatever a place costs to compare is copied then, or differs within a block: so all together is linear.
    """
    new, at = script._new, script.done
    blocks = len(old) // BLOCK_BYTES
    heads: "dict[int, int]" = {}  # hash to the first block that has it, counted from 1
    next_ = array("H", bytes(2 * blocks))  # of a block, the next one with the same hash
    for block in range(blocks, 0, -1):
        h = _hash(old, (block - 1) * BLOCK_BYTES)
        next_[block - 1] = heads.get(h, 0)
        heads[h] = block
    h = _hash(new, at)
    while not script.too_long(at - 2 * BLOCK_BYTES):  # a copy to come may begin so much earlier
        block = heads.get(h, 0)
        best = ahead = place = 0
        for _ in range(CANDIDATES_MAX):
            if not block:
                break
            i = (block - 1) * BLOCK_BYTES
            block = next_[block - 1]
            forth = _common(old, i, new, at, min(len(old) - i, end - at), False)
            if forth >= BLOCK_BYTES:
                back = _common(old, i, new, at, min(i, at - script.done), True)
                if forth + back > best:
                    best, ahead, place = forth + back, forth, i - back
        if best:
            at += ahead
            script.copy(place, at - best, best)
            if at + BLOCK_BYTES > end:
                return
            h = _hash(new, at)
        elif at + BLOCK_BYTES >= end:
            return
        else:
            h = (h - new[at] * _LEAVING & _MASK) * _FACTOR + new[at + BLOCK_BYTES] & _MASK
            at += 1
