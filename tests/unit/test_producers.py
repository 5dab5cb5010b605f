"""Producers: a repeat is known and gives its first offset."""

from streamline_core.producers import UNKNOWN_OFFSET, Producers


def test_runs():
    p = Producers(4)
    assert p.last(1) == -1 and p.offset_of(1, 0) == UNKNOWN_OFFSET
    p.note(1, 10, 100, 3)
    p.note(1, 13, 103, 1)
    assert p.last(1) == 13 and [p.offset_of(1, s) for s in (9, 10, 13, 14)] == [-1, 100, 103, -1]
    p.note(1, 14, 110, 2)  # another producer's records lie between
    assert p.last(1) == 15 and [p.offset_of(1, s) for s in (13, 14, 15)] == [-1, 110, 111]
    p.note(1, 10, 100, 3)  # a walk that meets it again
    assert p.last(1) == 15


def test_the_bound_forgets_who_stored_nothing_for_longest():
    p = Producers(2)
    p.note(1, 1, 0, 1)
    p.note(2, 1, 1, 1)
    p.note(1, 2, 2, 1)
    p.note(3, 1, 3, 1)
    assert (p.last(1), p.last(2), p.last(3)) == (2, -1, 1)
    q = Producers(1)
    q.load(p.to_wire())
    assert (q.last(1), q.last(3)) == (-1, 1)
    q = Producers(2)
    q.load(p.to_wire())
    assert q.to_wire() == p.to_wire() == [[1, 2, 2, 1], [3, 1, 3, 1]]
