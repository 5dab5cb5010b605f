"""The packed index of a keyed partition says what `version.join` says, whatever comes in whatever order."""

from harness import Random
from key_writers import KeyWriters
from streamline_core.digest import entry_hash, replaced
from streamline_core.extension import pack_carried, pack_writer, parse_extension
from streamline_core.table import Table, Watch
from streamline_core.version import Version, join


def apply(table, key, version, place):
    ext = parse_extension(pack_carried(version))
    return table.apply(key, ext, ext.writer, version.offset, version.hlc, version.value is None, place)


def knows(table, key, version):
    return table.knows(key, parse_extension(pack_carried(version)), pack_writer(version.origin, version.epoch), version.offset)


def told(versions):
    """All that is kept of versions, but their values."""
    return [(v.dot, v.side, v.hlc, v.trusted, v.context, v.value is None, v.demoted) for v in versions]


def demoted(version):
    v = version
    return Version(v.origin, v.epoch, v.offset, v.side, v.hlc, v.trusted, v.context, v.value, True)


def deliveries(random, keys):
    """(key, version) in any order, some of them again, some only or also as the hub demoted them."""
    rows = []
    for key in keys:
        writers = KeyWriters(random, 2 + random.below(4))
        writers.run(30)
        for version, _ in writers.written:
            for _ in range(1 + random.below(2)):
                rows.append((key, demoted(version) if random.below(6) == 0 else version))
    while rows:
        yield rows.pop(random.below(len(rows)))


def test_the_table_holds_what_the_join_of_all_that_came_holds():
    random = Random()
    for _ in range(40):
        table, came, places = Table(), {}, {}
        for number, (key, version) in enumerate(deliveries(random, (b"a", b"b", b"c"))):
            before = join(came.get(key, ()))
            came.setdefault(key, []).append(version)
            after = join(came[key])
            known, place = knows(table, key, version), (random.below(3), number, 7 * number, 1 + random.below(300))
            changed = apply(table, key, version, place)
            assert changed == (told(after) != told(before)) and known == (not changed), (version, before, after)
            if version in after or (version.dot in [v.dot for v in after] and not is_demoted(after, version.dot)):
                places[key, version.dot] = place  # met again: it is where it was met last
            found = table.siblings(key)
            assert told([v for v, _ in found]) == told(after)
            assert [where for _, where in found] == [places[key, v.dot] for v in after]
        check_counts(table, came)


def is_demoted(versions, dot):
    return any([version.demoted for version in versions if version.dot == dot])


def check_counts(table, came):
    live, deleted, conflicts = {}, 0, 0
    for key in came:
        after = join(came[key])
        conflicts += len(after) > 1
        deleted += len(after) == 1 and after[0].value is None
        for _, place in table.siblings(key):
            live[place[0]] = live.get(place[0], 0) + place[3]
    assert (table.conflicts, table.deleted) == (conflicts, deleted)
    assert {number: size for number, size in table.live_bytes.items() if size} == live
    assert table.in_conflict() == sorted([key for key in came if len(join(came[key])) > 1])
    assert table.keys() == sorted([key for key in came if any([v.value is not None for v in join(came[key])])])


class NoRoom(dict):
    """As a dict that has to grow and cannot, every other time."""

    tries = 0

    def __setitem__(self, key, value):
        if key not in self:
            self.tries += 1
            if self.tries % 2:
                raise MemoryError
        super().__setitem__(key, value)


def in_vain(do, *arguments):
    try:
        do(*arguments)
    except MemoryError:
        return True
    return False


def test_a_join_for_which_there_is_no_memory_changes_nothing_and_can_be_tried_again():
    for name in ("_entries", "_ids", "live_bytes"):
        random, table, came, vain = Random(), Table(), {}, 0
        setattr(table, name, NoRoom())
        for number, (key, version) in enumerate(deliveries(random, (b"a", b"b", b"c"))):
            place = (random.below(3), number, 7 * number, 1 + random.below(300))
            while in_vain(apply, table, key, version, place):
                vain += 1
                check_counts(table, came)
            came.setdefault(key, []).append(version)
            check_counts(table, came)
            assert told([v for v, _ in table.siblings(key)]) == told(join(came[key]))
        assert vain > 1, (name, vain)
        keys = sorted(came)
        for key in keys:
            for dot in [version.dot for version in join(came[key])]:
                while in_vain(table.remove, key, dot):
                    assert dot in table.dots(key)
        assert table.keys(b"", True) == [] and (table.conflicts, table.deleted) == (0, 0) and not any(table.live_bytes.values())


def test_the_digest_of_all_follows_each_change():
    random = Random()
    table, root = Table(), 0
    for number, (key, version) in enumerate(deliveries(random, [b"k%d" % i for i in range(8)])):
        apply(table, key, version, (0, number, 0, 10))
        if random.below(4) == 0 and table.dots(key):
            table.remove(key, table.dots(key)[0])
        if random.below(3) == 0:
            root = 0
            for key, dots in table.entries():
                root = replaced(root, 0, entry_hash(key, dots))
            assert table.root() == root


def test_a_watch_hears_of_a_key_once_however_its_version_went_and_of_nothing_where_none_did():
    version = Version("e1", 5, 7, "edge", 1 << 60, True, {}, b"")
    for go in (
        lambda table: table.lose(b"k", (1, 7, 0, 10)),
        lambda table: table.lose_all(1, 7, 8),
        lambda table: table.remove(b"k", version.dot),
    ):
        table, watch = Table(), Watch()
        heard = []
        watch.changed = heard.append
        table.watches.append(watch)
        apply(table, b"k", version, (1, 7, 0, 10))
        table.lose(b"k", (1, 6, 0, 10)), table.lose_all(1, 0, 7), table.remove(b"k", ("e1", 5, 6)), table.remove(b"other", version.dot)
        assert heard == [b"k"] and len(table) == 1
        go(table)
        go(table)
        assert heard == [b"k", b"k"] and len(table) == 0
