"""Lineage: where two histories part, checked by playing histories out offset by offset."""

from harness import Random
from streamline_core.lineage import ENTRIES_MAX, UNKNOWN_TERM, excerpt, extend, fill, parting, term_at, thin

A, B, C, D = 1, 2, 3, 4


def test_extend_keeps_one_entry_a_term():
    lineage = []
    assert extend(lineage, A, 0) and not extend(lineage, A, 5)
    assert extend(lineage, B, 10) and extend(lineage, C, 10)
    assert lineage == [(A, 0), (C, 10)]
    assert not extend(lineage, A, 5) and lineage == [(A, 0)]


def test_what_was_in_common_is_known_after_a_hundred_openings_without_a_network():
    for common in (1, 5, 40):
        mine = [(1000 + i, 10 * i) for i in range(common)]
        theirs, their_next = list(mine), 10 * common
        for i in range(100):
            extend(mine, 2000 + i, their_next + 10 * i)
            thin(mine, their_next)
            assert len(mine) <= ENTRIES_MAX and [row[1] for row in mine] == sorted([row[1] for row in mine])
        my_next = their_next + 1000
        assert mine[-1] == (2099, my_next - 10) and parting(mine, my_next, theirs, their_next) is None
        other = theirs + [(9, their_next)]
        assert parting(mine, my_next, other, their_next + 5) == their_next
        assert all([term_at(mine, o) in (0, 2000 + (o - their_next) // 10) for o in range(their_next, my_next)])


def test_what_neither_knows_is_nothing_in_common():
    assert parting([(A, 0), (0, 10), (B, 50)], 60, [(A, 0), (0, 20), (C, 50)], 60) == 10
    assert parting([(B, 50)], 60, [(C, 30)], 60) == 30
    assert parting([(B, 5)], 60, [(C, 30)], 60) == 5  # rather twice than never


def test_term_at():
    lineage = [(A, 5), (B, 10)]
    assert [term_at(lineage, o) for o in (4, 5, 9, 10, 99)] == [0, A, A, B, B]


def test_parting_cases():
    for mine, my_next, theirs, their_next, expected in (
        ([], 0, [], 0, None),
        ([(A, 0)], 10, [], 0, None),  # they have nothing
        ([(A, 0)], 10, [(A, 0)], 10, None),
        ([(A, 0), (B, 10)], 20, [(A, 0)], 7, None),
        ([(A, 0)], 10, [(A, 0)], 15, 10),  # a restored image that wrote nothing yet
        ([(A, 0), (B, 10)], 20, [(A, 0)], 15, 10),  # … and that wrote
        ([(A, 0), (B, 10)], 20, [(A, 0), (C, 10)], 15, 10),
        ([(A, 0), (B, 10)], 20, [(A, 0), (C, 8)], 15, 8),
        ([(A, 0), (B, 10), (D, 30)], 40, [(A, 0), (B, 13), (C, 25)], 28, 25),  # a gap over the first batch of B
        ([(D, 50)], 60, [(A, 0)], 10, 0),  # nothing in common
        ([], 0, [(A, 0)], 5, 0),  # wiped under the same epoch
        ([(A, 0)], 10, [], 5, None),  # only gaps arrived
        ([(A, 0)], 10, [], 15, 0),
    ):
        assert parting(mine, my_next, theirs, their_next) == expected, (mine, my_next, theirs, their_next)


def test_against_histories_played_out():
    for seed in range(1, 200):
        random = Random(seed)
        term = [0]

        def opening(log, lineage, random=random, term=term):
            term[0] += 1
            for _ in range(random.below(6)):
                extend(lineage, term[0], len(log))
                log.append((term[0], random.below(1 << 30)))

        mine, my_lineage = [], []
        for _ in range(1 + random.below(4)):
            opening(mine, my_lineage)
        n = random.below(len(mine) + 1)
        theirs, their_lineage = mine[:n], [row for row in my_lineage if row[1] < n]
        if random.below(2):
            opening(theirs, their_lineage)
        common = 0
        while common < min(len(mine), len(theirs)) and mine[common] == theirs[common]:
            common += 1
        expected = None if common == len(theirs) else common
        assert parting(my_lineage, len(mine), their_lineage, len(theirs)) == expected, seed


def test_an_excerpt_says_who_wrote_an_offset_and_what_came_last():
    lineage = [(i, 10 * i) for i in range(1, 21)]
    assert excerpt(lineage, 200, 4) == lineage[-4:] == excerpt(lineage, 175, 4)
    said = excerpt(lineage, 45, 4)
    assert said == [(4, 40), (UNKNOWN_TERM, 50), (19, 190), (20, 200)]
    assert [term_at(said, offset) for offset in (45, 55, 189, 190, 500)] == [4, 0, 0, 19, 20]
    assert excerpt(lineage, 5, 4)[0] == (1, 10) and excerpt(lineage[:3], 0, 4) == lineage[:3] and excerpt([], 5, 4) == []


def test_what_is_filled_in_leaves_what_was_known_above_it():
    lineage = [(7, 5)]
    fill(lineage, 7, 0, 20, 60)  # a gap that reaches into what is known
    assert [term_at(lineage, offset) for offset in (5, 20, 59)] == [7] * 3
    lineage = [(3, 0), (UNKNOWN_TERM, 10), (4, 20), (5, 25)]
    fill(lineage, 6, 10, 40, 40)  # a gap across openings that are known, to the end of one that is not
    assert [term_at(lineage, offset) for offset in (9, 20, 25, 39, 40)] == [3, 4, 5, 6, 6]
    lineage = [(UNKNOWN_TERM, 3), (9, 40)]
    fill(lineage, 7, 3, 20, 60)
    assert [term_at(lineage, offset) for offset in (3, 19, 20, 39, 40)] == [7, 7, 0, 0, 9]
