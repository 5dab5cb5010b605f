"""Gaps: sorted, without overlap, the first cause stays; checked against a dict of offsets."""

from harness import Random
from streamline_core.gaps import Gaps


def test_against_a_dict():
    random = Random(3)
    for _ in range(50):
        gaps, model = Gaps(), {}
        for _ in range(25):
            first = random.below(60)
            next_ = first + random.below(12)
            cause = ("evicted", "corrupt", "torn")[random.below(3)]
            gaps.add(first, next_, cause)
            for offset in range(first, next_):
                model.setdefault(offset, cause)
        for offset in range(80):
            row = gaps.at(offset)
            assert (row[2] if row else None) == model.get(offset)
        for i in range(1, len(gaps.rows)):
            a, b = gaps.rows[i - 1], gaps.rows[i]
            assert a[0] < a[1] <= b[0] and not (a[1] == b[0] and a[2] == b[2])
        begin, end = random.below(40), 40 + random.below(30)
        counted = {}
        for offset in model:
            if begin <= offset < end:
                counted[model[offset]] = counted.get(model[offset], 0) + 1
        assert gaps.lost_from(begin, end) == counted
        gaps.forget_below(30)
        assert all([(gaps.at(o)[2] if gaps.at(o) else None) == model.get(o) for o in range(30, 80)])
        assert all([row[1] > 30 for row in gaps.rows])
