"""Versions: whoever has heard the same holds the same, and only what was seen is superseded."""

from harness import Random
from key_writers import KeyWriters
from streamline_core.version import WRITERS_MAX, Version, join, seen, supersedes, why_unsound


def dots(versions):
    return [version.dot for version in versions]


def test_joining_is_commutative_associative_and_idempotent():
    random = Random()
    for _ in range(60):
        fleet = KeyWriters(random, 4)
        fleet.run(30)
        a, b, c = fleet.held[:3]
        assert dots(join(a, b)) == dots(join(b, a))
        assert dots(join(join(a, b), c)) == dots(join(a, join(b, c))) == dots(join(a, b, c))
        assert dots(join(a, a)) == dots(a) and dots(join(a, b, a)) == dots(join(a, b))


def test_replicas_that_have_heard_all_hold_the_same_in_whatever_order_they_heard():
    random = Random()
    for _ in range(40):
        fleet = KeyWriters(random, 5)
        fleet.run(40)
        expected = join(*fleet.held)
        for _ in range(5):
            versions = [version for version, _ in fleet.written]
            held = []
            while versions:
                held = join(held, [versions.pop(random.below(len(versions)))])
            assert dots(held) == dots(expected)


def test_a_write_supersedes_what_it_was_made_on_and_nothing_else():
    random = Random()
    for _ in range(40):
        fleet = KeyWriters(random, 4)
        fleet.run(30)
        ancestors = {}
        for version, held in fleet.written:  # an independent account: what was seen, and what that had seen
            known = set()
            for parent in held:
                known |= ancestors[parent.dot] | {parent.dot}
            ancestors[version.dot] = known
        for one, _ in fleet.written:
            for other, _ in fleet.written:
                assert supersedes(one, other) == (other.dot in ancestors[one.dot]), (one, other)
        standing = [v.dot for v, _ in fleet.written if not any([v.dot in ancestors[w.dot] for w, _ in fleet.written])]
        assert sorted(dots(join(*fleet.held))) == sorted(standing)


def test_more_writers_than_a_context_holds_show_more_and_lose_nothing():
    random = Random()
    fleet = KeyWriters(random, WRITERS_MAX + 6)
    for _ in range(6):
        fleet.run(60)
        assert all([len(version.context) <= WRITERS_MAX for version, _ in fleet.written])
    ancestors = {}
    for version, held in fleet.written:
        known = set()
        for parent in held:
            known |= ancestors[parent.dot] | {parent.dot}
        ancestors[version.dot] = known
    shown = dots(join([version for version, _ in fleet.written]))
    for version, _ in fleet.written:
        if not any([version.dot in ancestors[other.dot] for other, _ in fleet.written]):
            assert version.dot in shown


def test_those_of_whom_something_stands_are_left_out_last():
    many = [Version("w%02d" % i, 1, 5, "edge", i, True, {("old%02d" % i, 1): 9}, b"x") for i in range(WRITERS_MAX - 2)]
    context = seen(many)
    assert len(context) == WRITERS_MAX and all([context[version.origin, 1] == 6 for version in many])
    assert seen([]) == {} and seen(many[:1]) == {("old00", 1): 9, ("w00", 1): 6}


def test_a_context_that_nobody_can_have_is_named():
    sound = Version("a", 1, 7, "edge", 1, True, {("a", 1): 7, ("me", 4): 3}, b"x")
    assert why_unsound(sound, "me", {("me", 4): 3}) is None and why_unsound(sound, "other", {}) is None
    assert "me/00000004" in why_unsound(sound, "me", {("me", 4): 2})
    assert why_unsound(sound, "me", {("me", 5): 9}) is None  # an epoch that was on a disk that is gone
    sound.context["a", 1] = 8
    assert "its own writer" in why_unsound(sound, "me", {("me", 4): 3})


def test_what_was_demoted_once_stays_so_in_whatever_order_it_is_heard():
    early, late = Version("a", 1, 1, "edge", 5, True, {}, b"x"), Version("b", 1, 1, "edge", 1 << 60, True, {}, b"y")
    demoted = Version("b", 1, 1, "edge", 1 << 60, True, {}, b"y", True)
    assert join([early], [late])[-1] is late
    for siblings in (join([early, late], [demoted]), join([demoted], [early, late]), join([early, demoted], [late])):
        assert siblings == [demoted, early]
