"""Digests: two replicas find exactly the entries in which they differ, in few rounds and few bytes."""

import struct

from harness import MICROPYTHON, Random, raises
from streamline_core import cbor
from streamline_core.digest import (
    BITS_MAX,
    DIGESTS_MAX,
    HASH_MAX,
    Level,
    bucket_of,
    chosen,
    differing,
    digests,
    entry_hash,
    hash_set,
    hashes,
    plan,
    replaced,
    root_level,
    unknown,
)
from streamline_core.errors import ProtocolError
from streamline_core.topic import partition_of

KEYS = 2000 if MICROPYTHON else 10000
MESSAGES_MAX = 4000
LEVELS, LISTING, WANT = 0, 1, 2


class Replica:
    """Keys 0 to count - 1 with a dot each; `changed`: of these keys, another one, or None for keys that are not here."""

    def __init__(self, count, changed=None):
        self.count = count
        self.changed = changed or {}

    def __len__(self):
        return len(range(self.count)) - len([i for i in self.changed if self.changed[i] is None])

    def dots(self, i):
        offset = self.changed.get(i, 7)
        return None if offset is None or i >= self.count else [("edge-1", 5, offset, False)]

    def entries(self):
        """Made on the way: a board has no room for so many."""
        for i in range(self.count):
            dots = self.dots(i)
            if dots is not None:
                yield b"key-%d" % i, dots


class Exchange:
    """Messages between two replicas, each understood by itself. sent: the keys that each sends; bytes: of all messages without those."""

    def __init__(self, one, other, digests_max=DIGESTS_MAX):
        self.replicas = (one, other)
        self.digests_max = digests_max
        self.sent = (set(), set())
        self.bytes = self.bytes_max = self.rounds = self.messages = 0
        self.queue = []
        self.send(0, 1, root_level(len(one), digests_max))
        while self.queue:
            to, depth, data = self.queue.pop(0)
            self.take(to, depth, cbor.decode(data))

    def put(self, who, depth, message):
        data = cbor.encode(message)
        self.bytes += len(data)
        self.bytes_max = max(self.bytes_max, len(data))
        self.rounds = max(self.rounds, depth)
        self.messages += 1
        assert self.messages < MESSAGES_MAX
        self.queue.append((1 - who, depth, data))

    def send(self, who, depth, level):
        entries = self.replicas[who].entries
        head = [level.bits, list(level.parents), level.parents_bits]
        if depth == 1 or not level.leaf:
            self.put(who, depth, [LEVELS] + head + [bytes(digests(entries(), level))])
            return
        first = 0
        while first <= HASH_MAX:
            found, last = hashes(entries(), level, first, self.digests_max)
            self.put(who, depth, [LISTING] + head + [first, last, bytes(found)])
            first = last + 1

    def take(self, who, depth, message):
        entries = self.replicas[who].entries
        level = Level(*message[1:4])
        if message[0] == LEVELS:
            both, only_here = differing(digests(entries(), level), message[4])
            if only_here:
                here = level.at(only_here)
                self.sent[who].update([key for key, _ in entries() if here.position(key) >= 0])
            for next_ in plan(level, both, len(self.replicas[who]), self.digests_max):
                self.send(who, depth + 1, next_)
        elif message[0] == LISTING:
            theirs = hash_set(message[6])
            self.sent[who].update(unknown(entries(), level, message[4], message[5], theirs))
            if theirs:
                wanted = b"".join([struct.pack("<Q", n) for n in sorted(theirs)])
                self.put(who, depth, [WANT] + message[1:4] + [wanted])
        else:
            self.sent[who].update(chosen(entries(), level, hash_set(message[4])))

    def check(self):
        """Each sent what it has and the other has not, and nothing else."""
        for who in (0, 1):
            mine, theirs = self.replicas[who], self.replicas[1 - who]
            expected = set()
            for i in range(mine.count):
                dots = mine.dots(i)
                if dots is not None and dots != theirs.dots(i):
                    expected.add(b"key-%d" % i)
            assert self.sent[who] == expected, (len(self.sent[who]), len(expected))
        return self


def changes(random, keys, count):
    """So many keys that are changed or missing."""
    changed = {}
    while len(changed) < count:
        changed[random.below(keys)] = random.below(2) and 8 or None
    return changed


def test_ten_of_many_keys_are_found_with_few_bytes_in_three_rounds():
    for seed in range(1, 3):
        changed = changes(Random(seed), KEYS, 10)
        found = Exchange(Replica(KEYS), Replica(KEYS, changed)).check()
        assert found.rounds <= 3 and found.bytes < 6000 and found.bytes_max <= 4096, (seed, found.rounds, found.bytes)
        found = Exchange(Replica(KEYS, changed), Replica(KEYS)).check()
        assert found.rounds <= 3 and found.bytes < 6000, (seed, found.rounds, found.bytes)


def test_replicas_that_are_the_same_exchange_one_message():
    for keys in (0, 1, 300):
        found = Exchange(Replica(keys), Replica(keys)).check()
        assert found.messages == 1 and found.bytes <= 2100


def test_replicas_of_any_sizes_find_exactly_what_differs():
    for seed in range(1, 30):
        random = Random(seed)
        sizes = (0, 1, 2, 9, 50, 400)
        one, other = sizes[random.below(6)], sizes[random.below(6)]
        replicas = []
        for keys in (one, other):
            replicas.append(Replica(keys, changes(random, keys, random.below(keys + 1))))
        try:
            found = Exchange(replicas[0], replicas[1], 1 << (4 + random.below(5))).check()
        except AssertionError as error:
            raise AssertionError("seed %d: %s" % (seed, error))
        assert found.bytes_max <= 4096, seed


def test_an_empty_replica_asks_for_all_in_one_round():
    full, empty = Replica(500), Replica(0)
    found = Exchange(empty, full).check()
    assert found.messages == 1 and found.bytes < 20
    found = Exchange(full, empty).check()
    assert found.messages == 2 and found.bytes < 800


def test_where_all_differs_little_is_spent_on_finding_it():
    keys = 300 if MICROPYTHON else 1500
    other = Replica(keys)
    other.changed = {i: 9 for i in range(keys)}
    found = Exchange(Replica(keys), other).check()
    assert found.bytes_max <= 4096 and found.bytes < 26 * keys, (found.bytes, found.rounds)  # values have 200 bytes


def test_small_frames_are_enough():
    changed = changes(Random(5), 600, 6)
    found = Exchange(Replica(600), Replica(600, changed), 16).check()
    assert found.bytes_max <= 240, found.bytes_max


def test_keys_that_all_lie_in_one_bucket_are_found_in_bounded_messages():
    keys = []
    i = 0
    while len(keys) < 70:
        if bucket_of(b"k%d" % i, 3) == 5:
            keys.append(b"k%d" % i)
        i += 1

    class Crowded(Replica):
        def entries(self):
            for i in range(self.count):
                dots = self.dots(i)
                if dots is not None:
                    yield keys[i], dots

    found = Exchange(Crowded(70), Crowded(70, {3: 8, 60: None}), 16)
    assert found.sent == ({keys[3], keys[60]}, {keys[3]}) and found.bytes_max <= 240


def test_the_hash_of_an_entry_is_the_same_everywhere_and_says_all_of_it():
    dots = [("edge-1", 0xFFFFFFFF, 1 << 40, False), ("cloud", 7, 0, False)]
    n = entry_hash(b"key", dots)
    assert n == 0xB71052AD45BC0801, hex(n)
    assert entry_hash(b"key", list(reversed(dots))) == n
    others = [(b"ke", dots), (b"key", dots[:1]), (b"key", [])]
    others += [(b"key", [dots[0], other]) for other in (("cloud", 7, 1, False), ("cloud", 8, 0, False), ("cloud", 7, 0, True))]
    others.append((b"key", [("edge-1", 0xFFFFFFFF, 1 << 40, True), dots[1]]))
    found = [entry_hash(key, dots) for key, dots in others] + [n]
    assert len(set(found)) == len(found)
    assert [bucket_of(b"key", bits) for bits in (0, 1, 8, BITS_MAX)] == [0, 1, 192, 12632538]
    many = [entry_hash(b"%d" % i, dots) for i in range(200)]
    assert all([0 <= h <= HASH_MAX for h in many]) and any([h >> 63 for h in many])


def test_a_digest_does_not_depend_on_the_order_and_follows_changes():
    random = Random(9)
    entries = [(b"%d" % i, [("n", 1, i, False)]) for i in range(60)]
    level = Level(3)
    expected = digests(entries, level)
    for _ in range(5):
        rest, shuffled = list(entries), []
        while rest:
            shuffled.append(rest.pop(random.below(len(rest))))
        assert digests(shuffled, level) == expected
    key = b"7"
    at = level.position(key) * 8
    digest = struct.unpack_from("<Q", expected, at)[0]
    digest = replaced(digest, entry_hash(key, [("n", 1, 7, False)]), entry_hash(key, [("n", 1, 99, False)]))
    entries[7] = (key, [("n", 1, 99, False)])
    assert struct.unpack_from("<Q", digests(entries, level), at)[0] == digest
    assert struct.unpack_from("<Q", digests(entries[:7] + entries[8:], level), at)[0] == replaced(digest, entry_hash(*entries[7]), 0)
    assert digests([], level) == bytes(64)


def test_the_buckets_of_a_bucket_are_its_children_and_the_others_are_left_out():
    level = Level(6, [1, 4, 7], 3)
    assert level.count == 24 and not level.leaf and Level(3, [2], 3).leaf
    assert [level.bucket(position) for position in (0, 7, 8, 23)] == [8, 15, 32, 63]
    for i in range(300):
        key = b"key %d" % i
        assert bucket_of(key, 3) == bucket_of(key, 6) >> 3
        position = level.position(key)
        assert (position >= 0) == (bucket_of(key, 3) in (1, 4, 7))
        assert position < 0 or level.bucket(position) == bucket_of(key, 6)
    assert level.at([8, 23]).parents == [32, 63]


def test_the_keys_of_one_partition_are_spread_evenly():
    for partitions in (1, 2, 16, 12):
        counts = [0] * 16
        for i in range(16 * 100 * partitions):
            key = b"sensor/%d/temperature" % i
            if partition_of(key, partitions) == partitions - 1:
                counts[bucket_of(key, 4)] += 1
        assert min(counts) > 60 and max(counts) < 150, (partitions, counts)


def test_differing_tells_where_the_other_side_has_nothing():
    mine, theirs = bytearray(48), bytearray(48)
    mine[7] = theirs[15] = 1
    mine[31] = 1
    theirs[31] = 2
    mine[40] = theirs[40] = 5
    assert differing(mine, theirs) == ([1, 3], [0]) and differing(theirs, mine) == ([0, 3], [1])
    raises(ProtocolError, differing, mine, theirs[:40])


def test_what_is_planned_fits_its_messages_and_leaves_nothing_out():
    for seed in range(1, 60):
        random = Random(seed)
        digests_max = 1 << (1 + random.below(8))
        keys = random.below(1 << random.below(22))
        level = root_level(keys, digests_max)
        assert level.count <= digests_max, seed
        for _ in range(12):
            positions = sorted({random.below(level.count) for _ in range(1 + random.below(level.count))})
            planned = list(plan(level, positions, keys, digests_max))
            buckets = []
            for next_ in planned:
                assert next_.count <= digests_max and next_.parents_bits == level.bits, seed
                buckets += next_.parents
            assert buckets == [level.bucket(position) for position in positions], seed
            if planned[0].leaf:
                break
            level = planned[random.below(len(planned))]
        else:
            raise AssertionError("seed %d: it never comes to the entries" % seed)


def test_hashes_are_listed_in_pieces_that_rise():
    entries = [(b"%d" % i, [("n", 1, i, False)]) for i in range(200)]
    level = Level(1, [1], 1)
    expected = sorted([entry_hash(key, dots) for key, dots in entries if bucket_of(key, 1) == 1])
    for most in (1, 7, 64, 256):
        first, listed, pieces = 0, [], 0
        while first <= HASH_MAX:
            data, last = hashes(entries, level, first, most)
            piece = sorted(hash_set(data))
            assert len(piece) <= most and all([first <= n <= last for n in piece])
            listed += piece
            first = last + 1
            pieces += 1
        assert listed == expected and pieces <= len(expected) // most + 1
    assert hashes([], level) == (b"", HASH_MAX)


def test_levels_and_hashes_that_nobody_may_send_are_refused():
    for bits, parents, parents_bits in (
        (-1, (0,), 0), (0, (0,), -1), (BITS_MAX + 1, (0,), BITS_MAX), (3, (0,), 4), (9, (0,), 0), (9, (0, 1), 1), (2, (), 1), (2, (2,), 1),
        (4, (1, 1), 3), (4, (2, 1), 3), (4, (-1,), 3), (4, (None,), 3), (None, (0,), 0), (4, (0,), True), (9, range(257), 9),
    ):  # fmt: skip
        raises(ProtocolError, Level, bits, parents, parents_bits)
    assert Level(8).count == Level(9, range(256), 9).count == DIGESTS_MAX
    for data in (b"x", bytes(9), bytes(8 * DIGESTS_MAX + 8)):
        raises(ProtocolError, hash_set, data)
    assert hash_set(b"") == set() and hash_set(bytes(range(1, 9))) == {0x0807060504030201}
