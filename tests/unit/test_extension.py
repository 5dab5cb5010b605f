"""What the record of a version carries: it comes back as it was packed, and broken ones are refused."""

from harness import flips, raises
from streamline_core.errors import CorruptRecord
from streamline_core.extension import CLOUD_SIDE, moved, pack_carried, pack_own, pack_writer, parse_extension, version_of, writer_of
from streamline_core.record import Record
from streamline_core.version import WRITERS_MAX, Version

CONTEXT = {("edge-1", 0xFFFFFFFF): 1 << 40, ("cloud", 7): 1}


def record(extension, tombstone=False):
    return Record(9, 77 << 16, True, None, b"k", b"v", (), tombstone, extension)


def shown(version):
    return version.dot, version.side, version.hlc, version.trusted, version.context, version.value, version.demoted


def test_an_own_version_is_what_its_log_says_and_what_it_had_seen():
    version = version_of(record(pack_own("cloud", CONTEXT)), "cloud", 3)
    assert shown(version) == (("cloud", 3, 9), "cloud", 77 << 16, True, CONTEXT, b"v", False)
    assert version_of(record(pack_own("edge", {}), True), "e", 1).value is None


def test_a_carried_version_says_whose_it_is():
    carried = Version("edge-9", 5, 1 << 33, "edge", 1 << 62, False, CONTEXT, b"v", True)
    assert shown(version_of(record(pack_carried(carried)), "cloud", 3)) == shown(carried)
    assert parse_extension(pack_carried(carried) + b"of a later build").offset == 1 << 33


def test_what_is_broken_is_refused():
    full = {("w%02d" % i, i): i + 1 for i in range(WRITERS_MAX)}
    for packed in (pack_own("cloud", CONTEXT), pack_carried(Version("e", 1, 300, "edge", 5, True, full, b"v"))):
        for length in range(len(packed)):
            raises(CorruptRecord, parse_extension, packed[:length])
        for _, copy in flips(packed):
            try:
                version = version_of(record(copy), "e", 1)
            except CorruptRecord:
                continue
            assert len(version.context) <= WRITERS_MAX
    twice = bytes((1, 0, 2)) + (pack_writer("a", 1) + b"\x05") * 2
    raises(CorruptRecord, version_of, record(twice), "e", 1)
    for bad in (b"\x03\x00\x00", b"\x01\x00\x11", b"\x01\x00\x01\x00\x00\x00\x00\x00\x01", b"\x01\x00\x01" + pack_writer("a", 1) + b"\x00"):
        raises(CorruptRecord, parse_extension, bad)
    raises(CorruptRecord, version_of, record(b"\x01\x00\x01" + pack_writer("/", 1) + b"\x01"), "e", 1)
    assert writer_of(pack_writer("edge-1", 1 << 31)) == ("edge-1", 1 << 31) and CLOUD_SIDE == 1


def test_what_a_fork_moves_is_called_by_its_new_name():
    context = {("me", 5): 40, ("b", 2): 9}
    again = parse_extension(moved(pack_own("edge", context), "me", 5, 30, 6)).seen
    assert {writer_of(name): next_ for name, next_ in again} == {("me", 5): 30, ("me", 6): 10, ("b", 2): 9}
    whole = parse_extension(moved(pack_own("edge", context), "me", 5, 0, 6)).seen
    assert {writer_of(name): next_ for name, next_ in whole} == {("me", 6): 40, ("b", 2): 9}
    assert moved(pack_own("edge", context), "me", 5, 40, 6) == pack_own("edge", context)
