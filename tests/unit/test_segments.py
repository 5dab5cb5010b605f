"""The ring of a log's segments: its order, its bytes, what still goes into the head, and when a file may go."""

from harness import MemoryStorage, Random, raises
from streamline_core.log_limits import LogLimits
from streamline_core.segments import SegmentRing, segment_name

FOLDER = "t-0/e1-0000abcd"


def ring_of(storage, segment_bytes=1000, segment_records=0):
    return SegmentRing(storage, FOLDER, LogLimits(segment_bytes=segment_bytes, segment_records=segment_records))


def filled(storage, bases, size=100):
    ring = ring_of(storage)
    for base in bases:
        ring.open_head(base)
        ring.append(b"h" * 64, b"b" * (size - 64))
    return ring


def stored_bytes(storage):
    return sum([len(content) for content in storage.files.values()])


def test_the_segment_of_an_offset_is_the_last_that_begins_at_or_before_it():
    random = Random(11)
    for n in range(1, 12):
        bases = [random.below(5)]
        while len(bases) < n:
            bases.append(bases[-1] + 1 + random.below(9))
        ring = filled(MemoryStorage(), bases)
        for offset in range(bases[0], bases[-1] + 20):
            assert bases[ring.index_of(offset)] == max([base for base in bases if base <= offset]), (bases, offset)


def test_total_bytes_are_those_of_the_files_whatever_comes_and_goes():
    random = Random(12)
    storage = MemoryStorage()
    ring, next_ = ring_of(storage), 0
    for _ in range(400):
        what = random.below(8)
        if what < 5 or not ring.bases:
            if not ring.takes(80, next_):
                ring.open_head(next_)
            ring.append(b"h" * 64, b"b" * 16)
            next_ += 1 + random.below(3)
        elif what == 5 and len(ring.bases) > 1:
            base, size, name = ring.forget_oldest()
            assert size == storage.size(name) and base < ring.bases[0] and base not in ring.compacted
            storage.remove(name)
        elif what == 6:
            base = ring.bases[random.below(len(ring.bases))]
            if base not in ring.compacted:
                before = storage.size(ring.name_of(base))
                storage.append(segment_name(FOLDER, base, True), b"c" * 10)
                assert ring.exchange(base, 10) == before - 10
                ring.close_head()
        elif what == 7 and not random.below(4):
            ring.drop_from(ring.bases[-1])
            ring.close_head()
        assert ring.total_bytes == sum(ring.sizes) == stored_bytes(storage) and len(ring.sizes) == len(ring.bases)
        assert sorted(storage.files) == sorted([ring.name_of(base) for base in ring.bases])


def test_a_head_takes_no_more_bytes_and_no_more_records_than_the_limits_say():
    ring = ring_of(MemoryStorage(), 200, 10)
    assert not ring.takes(1, 50), "there is none"
    ring.open_head(50)
    assert ring.takes(200, 59) and not ring.takes(201, 59) and not ring.takes(1, 60)
    ring.append(b"h" * 64, b"b" * 36)
    assert ring.takes(100, 59) and not ring.takes(101, 59)
    ring.close_head()
    assert not ring.takes(1, 51)


def test_what_is_written_anew_takes_the_place_of_what_was_there_and_readers_can_tell():
    storage = MemoryStorage()
    ring = filled(storage, (0, 5, 9))
    storage.append(segment_name(FOLDER, 5, True), b"c" * 30)
    assert ring.exchange(5, 30) == 70 and ring.exchanges == 1
    assert sorted(storage.files) == sorted([ring.name_of(base) for base in (0, 5, 9)]) and ring.name_of(5).endswith(".cmp")
    assert ring.sizes == [100, 30, 100]


def test_a_file_goes_when_the_version_that_notes_it_is_durable_and_in_its_turn():
    storage = MemoryStorage()
    ring = filled(storage, (0, 5, 9))
    for version in (3, 4):
        _, size, name = ring.forget_oldest()
        ring.removals.append((version, name, size))
    ring.remove_noted(2)
    assert len(storage.files) == 3 and ring.removing_bytes == 200
    ring.remove_noted(3)
    assert sorted(storage.files) == [segment_name(FOLDER, 5), segment_name(FOLDER, 9)] and ring.removing_bytes == 100
    ring.remove_noted(7)
    assert sorted(storage.files) == [segment_name(FOLDER, 9)] and not ring.removals


def test_a_removal_that_fails_is_made_up_for_the_next_time():
    class Failing(MemoryStorage):
        fails = True

        def remove(self, name):
            if self.fails:
                raise OSError(5)
            super().remove(name)

    storage = Failing()
    ring = filled(storage, (0, 5))
    ring.removals.append((1, ring.forget_oldest()[2], 100))
    raises(OSError, lambda: ring.remove_noted(1))
    storage.fails = False
    ring.remove_noted(1)
    assert sorted(storage.files) == [segment_name(FOLDER, 5)] and not ring.removals


def test_without_memory_for_a_new_segment_the_ring_is_as_it_was():
    class Scarce(list):
        def append(self, base):
            raise MemoryError

    storage = MemoryStorage()
    ring = filled(storage, (0, 5))
    ring.bases = Scarce(ring.bases)
    raises(MemoryError, lambda: ring.open_head(9))
    assert list(ring.bases) == [0, 5] and ring.sizes == [100, 100] and ring.head == segment_name(FOLDER, 5)
    ring.append(b"h" * 64, b"b")
    assert storage.size(segment_name(FOLDER, 5)) == 165 and ring.total_bytes == 265


def test_the_head_is_unchanged_until_something_is_stored_that_was_not_told():
    storage = MemoryStorage()
    ring = filled(storage, (0, 5))
    assert ring.head_unchanged()
    storage.append(segment_name(FOLDER, 5), b"h")
    assert not ring.head_unchanged()
