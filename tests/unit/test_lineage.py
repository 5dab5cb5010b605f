"""Lineage: where two histories part, checked by playing histories out offset by offset."""

from harness import Random
from streamline_core.lineage import ENTRIES_MAX, extend, parting, term_at

A, B, C, D = 1, 2, 3, 4


def test_extend_keeps_one_entry_a_term():
    lineage = []
    assert extend(lineage, A, 0) and not extend(lineage, A, 5)
    assert extend(lineage, B, 10) and extend(lineage, C, 10)
    assert lineage == [(A, 0), (C, 10)]
    assert not extend(lineage, A, 5) and lineage == [(A, 0)]
    for i in range(100):
        extend(lineage, 100 + i, 20 + i)
    assert len(lineage) == ENTRIES_MAX and lineage[-1] == (199, 119)


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
