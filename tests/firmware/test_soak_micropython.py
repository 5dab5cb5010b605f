"""The soak of a board, a short one, on the MicroPython of the tests: tests/images has the long one, on a 32-bit build."""

from collections.abc import Callable
from pathlib import Path

import pytest

import mpy
import soak

RECORDS = 20_000
HEAP = "320k"  # 64 bits, and the bytecode of core and shell in it

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]


def test_the_heap_does_not_grow_while_records_come_and_go(tmp_path: Path) -> None:
    command, path = soak.plain_program(HEAP, tmp_path)
    found = soak.run(command, path, tmp_path, RECORDS, 0.5, 32, 32768, 4)
    soak.show(found, False)
    assert not found.problems
    assert found.produced == RECORDS and found.arrived > RECORDS // 4 and found.lost.get("evicted")


def seen(used: Callable[[int], int], piece_bytes: Callable[[int], int], arrived: int = 90) -> list[str]:
    """What a day of such samples is said to be."""
    samples = [soak.Sample(i, used(i), 1000, piece_bytes(i), i, 0, 0, 0, False) for i in range(soak.SAMPLES)]
    return soak.problems(soak.Soak(samples, 100, 0, arrived, {"evicted": 10}), 100)


def test_growth_a_heap_in_pieces_and_a_missing_record_would_be_seen() -> None:
    assert seen(lambda i: 70_000 + i % 7 * 60, lambda i: 48_000 - i % 5 * 300) == []
    (problem,) = seen(lambda i: 70_000 + 8 * i, lambda i: 48_000)
    assert "the heap grew from 70208 to 70760" in problem
    (problem,) = seen(lambda i: 70_000, lambda i: 48_000 - 200 * i)
    assert "the largest free piece" in problem
    (problem,) = seen(lambda i: 70_000, lambda i: 48_000, 89)
    assert "does not add up" in problem
