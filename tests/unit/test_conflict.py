"""Conflicts: the rule that was chosen decides, the same everywhere, and only where nobody had seen the other."""

from harness import Random, raises
from streamline_core.conflict import (
    BOTH,
    CONCURRENT_WRITE,
    DELETE_UPDATE,
    DROP,
    MERGED,
    MERGED_BYTES_MAX,
    ORDERING,
    UPDATE_DELETE,
    USE_CLOUD,
    USE_EDGE,
    Conflict,
    ConflictResolver,
)
from streamline_core.errors import UsageError
from streamline_core.topic import STRATEGIES
from streamline_core.version import Version


def version(origin, hlc, value=b"", trusted=True, context=None, offset=0):
    side = "cloud" if origin.startswith("cloud") else "edge"
    return Version(origin, 1, offset, side, hlc, trusted, context or {}, value if value != b"" else origin.encode())


def resolved(strategy, *siblings, merge=None):
    return ConflictResolver(strategy, merge).resolve(Conflict("t", 0, b"k", siblings))


def shown(strategy, *siblings, merge=None):
    found = resolved(strategy, *siblings, merge=merge)
    return found.kind, found.value


def test_each_strategy_chooses_as_it_says():
    a, b, c = version("a", 10), version("b", 30), version("cloud", 20)
    assert shown("last_write_wins", a, b, c) == (USE_EDGE, b"b")
    assert shown("first_write_wins", a, b, c) == (USE_EDGE, b"a")
    assert shown("cloud_wins", a, b, c) == (USE_CLOUD, b"cloud")
    assert shown("edge_wins", a, c) == (USE_EDGE, b"a") and shown("edge_wins", a, b, c) == (USE_EDGE, b"b")
    assert shown("cloud_wins", a, b) == (USE_EDGE, b"b")  # the cloud wrote none of them
    both = resolved("keep_both", c, b, a)
    assert both.kind == BOTH and [v.value for v in both.versions] == [b"a", b"cloud", b"b"] and both.value == b"b"


def test_a_clock_that_was_not_set_loses_under_first_and_last_write_alike():
    early, late, sound = version("a", 1, trusted=False), version("b", 99, trusted=False), version("c", 50)
    for strategy in ("last_write_wins", "first_write_wins"):
        found = resolved(strategy, early, late, sound)
        assert found.value == b"c" and "not set" in found.rule
        assert "not set" not in resolved(strategy, early, late).rule
    assert shown("last_write_wins", early, late) == (USE_EDGE, b"b") and shown("first_write_wins", early, late) == (USE_EDGE, b"a")


def test_equal_stamps_are_decided_alike_everywhere():
    siblings = [version(name, 7) for name in ("a", "b", "cloud")]
    for strategy in STRATEGIES[:4]:
        assert len({shown(strategy, *order) for order in (siblings, siblings[::-1], siblings[1:] + siblings[:1])}) == 1


def test_a_deletion_that_wins_is_shown_as_one():
    write, delete = version("a", 1), version("cloud", 2, None)
    assert shown("last_write_wins", write, delete) == (DROP, None)
    assert shown("first_write_wins", write, delete) == (USE_EDGE, b"a")
    assert shown("keep_both", write, delete) == (BOTH, b"a")
    assert shown("keep_both", version("a", 1, None), delete) == (DROP, None)


def test_what_had_been_seen_is_no_conflict_and_never_wins():
    first = version("a", 90)
    later = version("b", 10, context={("a", 1): 1})
    assert "no conflict" in str(raises(UsageError, Conflict, "t", 0, b"k", [first, later]))
    other = version("cloud", 50)
    assert Conflict("t", 0, b"k", [first, later, other]).siblings == [later, other]
    for strategy in ("first_write_wins", "edge_wins"):
        assert shown(strategy, first, later, other) == (USE_EDGE, b"b")


def test_conflicts_are_called_by_their_type():
    def type_of(*siblings):
        return Conflict("t", 0, b"k", siblings).type

    assert type_of(version("a", 1), version("cloud", 2)) == CONCURRENT_WRITE
    assert type_of(version("a", 1), version("cloud", 2, None)) == UPDATE_DELETE
    assert type_of(version("a", 1, None), version("cloud", 2)) == DELETE_UPDATE
    assert type_of(version("a", 1, b"same"), version("cloud", 2, b"same")) == ORDERING


def test_a_merge_folds_all_of_them_in_one_order_whatever_order_they_came_in():
    def merge(key, earlier, later):
        return key + b"(" + (earlier or b"-") + b"+" + (later or b"-") + b")"

    siblings = [version("a", 1), version("b", 2, None), version("cloud", 3)]
    expected = (MERGED, b"k(k(a+-)+cloud)")
    assert shown("custom_merge", *siblings, merge=merge) == shown("custom_merge", *siblings[::-1], merge=merge) == expected
    assert shown("custom_merge", *siblings, merge=lambda key, earlier, later: None) == (DROP, None)


def test_a_merge_that_fails_shows_all_and_is_counted():
    def breaks(key, earlier, later):
        raise RuntimeError("no idea")

    siblings = [version("a", 1), version("cloud", 2)]
    for merge in (breaks, lambda *given: "text", lambda *given: bytes(MERGED_BYTES_MAX + 1), lambda key: b""):
        resolver = ConflictResolver("custom_merge", merge)
        found = resolver.resolve(Conflict("t", 0, b"k", siblings))
        assert (found.kind, found.value, resolver.merge_failures) == (BOTH, b"cloud", 1) and found.failed
        assert [v.value for v in found.versions] == [b"a", b"cloud"]


def test_what_does_not_fit_together_is_refused_and_what_came_out_is_counted():
    raises(UsageError, ConflictResolver, "coin_toss")
    raises(UsageError, ConflictResolver, "custom_merge")
    raises(UsageError, ConflictResolver, "cloud_wins", lambda *given: b"")
    resolver = ConflictResolver("cloud_wins")
    rows = [Conflict("t", 0, b"k%d" % i, [version("a", i), version("cloud", 1, None if i == 2 else b"c")]) for i in range(3)]
    assert [found.kind for found in resolver.resolve_batch(rows)] == [USE_CLOUD, USE_CLOUD, DROP]
    assert resolver.counts == {USE_CLOUD: 2, DROP: 1}


def test_every_replica_shows_the_same_whatever_it_heard_first():
    random = Random()
    for _ in range(200):
        names = ["a", "b", "c", "cloud"][: 2 + random.below(3)]
        siblings = []
        for name in names:
            value = None if random.below(5) == 0 else b"%d" % random.below(3)
            siblings.append(version(name, random.below(4), value, random.below(2) == 1))
        for strategy in STRATEGIES[:5]:
            expected = shown(strategy, *siblings)
            for i in range(len(siblings)):
                assert shown(strategy, *(siblings[i:] + siblings[:i])) == expected == shown(strategy, *siblings[::-1])
