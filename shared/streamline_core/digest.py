"""Anti-entropy: two replicas of a keyed table find the entries in which they differ, by digests of ever fewer and smaller buckets of keys.

An entry is a key and what stands of it: of each sibling the dot, and whether it is demoted; its hash has 64 bits. A key lies in one of
2^bits buckets, by a hash of the key alone; a bucket of b bits is two of b + 1. The digest of a bucket is the sum of its entries' hashes
modulo 2^64: it does not depend on their order, and one entry that changes changes it by a difference (`replaced`). 0 stands for an empty
bucket.

The exchange keeps no state; each message is understood by itself, and whoever gets it answers with what it holds then:
1. One side sends the digests of `root_level`. 2. Who gets digests compares (`differing`), sends what it holds in buckets in which the other
has nothing, and for the rest what `plan` says: digests of finer levels, or the hashes of a leaf level's entries (`hashes`). 3. Who gets
hashes sends the entries that are not among them (`unknown`), and asks for those hashes that it has no entry of. 4. Who is asked sends
(`chosen`). Whatever a lost message would have found, the next exchange finds.

That two different buckets have one digest, or two entries one hash, has a chance of 2^-64 for each pair that is compared, where nobody
wants it to happen: who compares a million of them a second waits 600,000 years for the first. That is why digests are whole on every level:
with 4 bytes below the root, 10,000 keys of which 10 differ would cost a sixth less, and once in a while a difference would hide behind its
parent until something else in its bucket changes. Who may write whatever he likes can forge a sum, and so hide what differs in his own
entries and in those that share a bucket with them: this finds what was lost, and proves nothing.

Rule: nothing depends on the order in which entries come, and nobody holds more than DIGESTS_MAX digests or hashes (and SLACK) at a time,
whatever the keys are. Knows nothing of values, frames or tables.
"""

import binascii
import hashlib
import struct

from .errors import ProtocolError
from .record_encoder import put_varint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, Sequence

    from .ports import Buffer
    from .version import Standing

    Entries = Iterable[tuple[bytes, Iterable[Standing]]]

DIGEST_BYTES = 8
DIGESTS_MAX = 256  # in one message: 2 KB, and the numbers of their parents
BITS_MAX = 24
HASH_MAX = (1 << 64) - 1
KEYS_EACH = 2  # in a bucket of a leaf level, about
ROOT_KEYS_EACH = 8
LISTED_MAX = 128  # hashes that are rather sent than found to be the same by one more round of digests
DEEPER_BITS = 4  # of one round, where not all fits one message
SLACK = 64
_MASK_32 = 0xFFFFFFFF


def entry_hash(key: "Buffer", standing: "Iterable[Standing]") -> int:
    """Of an entry, in 64 bits: the first 8 bytes, little-endian, of the SHA-256 of the key's length, the key, and for each sibling, in
    order of (origin, epoch, offset), the length of the origin's name, the name, epoch and offset; the numbers are LEB128; and a zero where
    it is demoted (no name has that length)."""
    data = bytearray()
    put_varint(data, len(key))
    data.extend(key)
    for origin, epoch, offset, demoted in sorted(standing):
        name = origin.encode()
        put_varint(data, len(name))
        data.extend(name)
        put_varint(data, epoch)
        put_varint(data, offset)
        if demoted:
            data.append(0)
    return int.from_bytes(hashlib.sha256(data).digest()[:DIGEST_BYTES], "little")


def bucket_of(key: "Buffer", bits: int) -> int:
    """The bucket of a key among 2^bits. CRC-32 modulo something has chosen the partition already, so it is mixed first (the first half of
    the finalizer of MurmurHash3), and the upper bits are taken."""
    h = binascii.crc32(key)
    h = (h ^ h >> 16) * 0x85EBCA6B & _MASK_32
    return (h ^ h >> 13) >> (32 - bits)


def replaced(digest: int, before: int, after: int) -> int:
    """The digest of a bucket in which the hash of one entry was `before` and is `after`; 0 where there was or is none."""
    return digest - before + after & HASH_MAX


class Level:
    """The buckets of which a message speaks: those of `bits` that lie in the buckets `parents` of `parents_bits`, in rising order. A leaf
    level has no bits more than its parents: its entries are listed. Raises ProtocolError for what nobody may send."""

    def __init__(self, bits: int, parents: "Sequence[int]" = (0,), parents_bits: int = 0) -> None:
        for number in (bits, parents_bits):
            if type(number) is not int or not 0 <= number <= BITS_MAX:
                raise ProtocolError("a level of %r in %r bits; at most %d are allowed" % (bits, parents_bits, BITS_MAX))
        self.deeper = bits - parents_bits
        if self.deeper < 0 or not 0 < len(parents) <= DIGESTS_MAX or self.deeper > 8 or len(parents) << self.deeper > DIGESTS_MAX:
            raise ProtocolError("%d buckets of %d bits in %d; at most %d are allowed" % (len(parents), parents_bits, bits, DIGESTS_MAX))
        last = -1
        for parent in parents:
            if type(parent) is not int or not last < parent < 1 << parents_bits:
                raise ProtocolError("bucket %r after %d among those of %d bits" % (parent, last, parents_bits))
            last = parent
        self.bits = bits
        self.parents = parents
        self.parents_bits = parents_bits
        self._order = {parents[i]: i for i in range(len(parents))}

    @property
    def leaf(self) -> bool:
        return self.deeper == 0

    @property
    def count(self) -> int:
        """How many buckets it has."""
        return len(self.parents) << self.deeper

    def position(self, key: "Buffer") -> int:
        """Of the key's bucket among these; -1 where it lies in none of them."""
        bucket = bucket_of(key, self.bits)
        i = self._order.get(bucket >> self.deeper, -1)
        return -1 if i < 0 else i << self.deeper | bucket & (1 << self.deeper) - 1

    def bucket(self, position: int) -> int:
        """The number of the bucket at a position."""
        return self.parents[position >> self.deeper] << self.deeper | position & (1 << self.deeper) - 1

    def at(self, positions: "Iterable[int]") -> "Level":
        """The leaf level of the buckets at these positions, which rise; there is one at least."""
        return Level(self.bits, [self.bucket(position) for position in positions], self.bits)

    def __repr__(self) -> str:
        return "%d buckets of %d bits in %d" % (len(self.parents), self.parents_bits, self.bits)


def digests(entries: "Entries", level: Level) -> bytearray:
    """The digests of a level's buckets, 8 bytes each, little-endian, as they are sent."""
    out = bytearray(level.count * DIGEST_BYTES)
    for key, standing in entries:
        position = level.position(key)
        if position >= 0:
            at = position * DIGEST_BYTES
            digest = struct.unpack_from("<Q", out, at)[0]
            struct.pack_into("<Q", out, at, replaced(digest, 0, entry_hash(key, standing)))
    return out


def differing(mine: "Buffer", theirs: "Buffer") -> "tuple[list[int], list[int]]":
    """The positions at which the digests of a level differ: those at which they have something, and those at which they have nothing.
    Raises ProtocolError where theirs are not as many as mine."""
    if len(mine) != len(theirs):
        raise ProtocolError("%d bytes of digests where there should be %d" % (len(theirs), len(mine)))
    a, b = memoryview(mine), memoryview(theirs)
    nothing = bytes(DIGEST_BYTES)
    both: "list[int]" = []
    only_here: "list[int]" = []
    for at in range(0, len(a), DIGEST_BYTES):
        here, there = a[at : at + DIGEST_BYTES], b[at : at + DIGEST_BYTES]
        if here != there:
            (only_here if there == nothing else both).append(at // DIGEST_BYTES)
    return both, only_here


def root_level(keys: int, digests_max: int = DIGESTS_MAX) -> Level:
    """What to begin with, for a table of so many keys. digests_max: of one message, as in `plan`."""
    bits = 0
    while ROOT_KEYS_EACH << bits < keys and 2 << bits <= min(digests_max, DIGESTS_MAX):
        bits += 1
    return Level(bits)


def plan(level: Level, positions: "Sequence[int]", keys: int, digests_max: int = DIGESTS_MAX) -> "Iterator[Level]":
    """The levels to go on with, one message each, where a level differs at these positions and `keys` keys are here. digests_max: the most
    digests of one message, a power of two from 2 to DIGESTS_MAX."""
    each = max(1, keys >> level.bits)  # there may be more or less of them; nothing but the size of messages depends on it
    deeper = 0
    if each * len(positions) > LISTED_MAX:
        most = max(_log2(digests_max // len(positions)), min(DEEPER_BITS, _log2(digests_max)))
        while each >> deeper > KEYS_EACH and deeper < most and level.bits + deeper < BITS_MAX:
            deeper += 1
    group = digests_max >> deeper if deeper else max(1, digests_max // each)
    for i in range(0, len(positions), group):
        buckets = [level.bucket(position) for position in positions[i : i + group]]
        yield Level(level.bits + deeper, buckets, level.bits)


def _log2(n: int) -> int:
    bits = 0
    while 2 << bits <= n:
        bits += 1
    return bits


def hashes(entries: "Entries", level: Level, first: int = 0, hashes_max: int = DIGESTS_MAX) -> "tuple[bytearray, int]":
    """The hashes of the entries in a level's buckets from `first` on, the smallest, at most so many: (8 bytes each, little-endian, rising;
    last). All from `first` to `last` are there; where `last` is HASH_MAX there are no more, else one goes on from last + 1."""
    found: "list[int]" = []
    last = HASH_MAX
    for key, standing in entries:
        if level.position(key) >= 0:
            n = entry_hash(key, standing)
            if first <= n <= last:
                found.append(n)
                if len(found) >= hashes_max + SLACK:
                    found.sort()
                    found = found[:hashes_max]
                    last = found[-1]
    found.sort()
    if len(found) > hashes_max:
        found = found[:hashes_max]
        last = found[-1]
    out = bytearray(len(found) * DIGEST_BYTES)
    for i in range(len(found)):
        struct.pack_into("<Q", out, i * DIGEST_BYTES, found[i])
    return out, last


def hash_set(data: "Buffer") -> "set[int]":
    """The hashes that came as `hashes` gives them. Raises ProtocolError for what it never gives."""
    count = len(data) // DIGEST_BYTES
    if len(data) % DIGEST_BYTES or count > DIGESTS_MAX:
        raise ProtocolError("%d bytes of hashes; at most %d of %d bytes are allowed" % (len(data), DIGESTS_MAX, DIGEST_BYTES))
    return {struct.unpack_from("<Q", data, i * DIGEST_BYTES)[0] for i in range(count)}


def unknown(entries: "Entries", level: Level, first: int, last: int, theirs: "set[int]") -> "Iterator[bytes]":
    """The keys of the entries in a level's buckets, with hashes from `first` to `last`, that are not among theirs. Takes out of `theirs`
    what is here: what is left at the end is what to ask for."""
    for key, standing in entries:
        if level.position(key) >= 0:
            n = entry_hash(key, standing)
            if n in theirs:
                theirs.remove(n)
            elif first <= n <= last:
                yield key


def chosen(entries: "Entries", level: Level, theirs: "set[int]") -> "Iterator[bytes]":
    """The keys of the entries in a level's buckets whose hashes are among theirs."""
    for key, standing in entries:
        if level.position(key) >= 0 and entry_hash(key, standing) in theirs:
            yield key
