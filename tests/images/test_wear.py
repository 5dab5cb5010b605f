"""What a flash of 1 MB suffers from a day of one commit a second: the whole day, in injected time."""

from collections.abc import Callable
from pathlib import Path

import pytest

import bench_wear
import mpy

ERASES_A_DAY_MAX = 20

pytestmark = [
    pytest.mark.image,
    pytest.mark.timeout(600),
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]


def test_no_block_of_1_mb_is_erased_more_than_20_times_by_a_day_of_one_commit_a_second(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    assert bench_wear.BLOCKS * bench_wear.BLOCK_BYTES == 1 << 20 and bench_wear.DAY_SECS == 24 * 3600
    found = bench_wear.measure(tmp_path)
    record_property(
        "figure",
        "wear of 1 MB by a day of a commit a second: a block of the logs is erased %d times at the most (%.1f on average), one of the "
        "files %d, by %d saves" % (found.log_worst, found.log_mean, found.files_worst, found.saves),
    )
    assert 0 < found.log_worst <= ERASES_A_DAY_MAX and 0 < found.files_worst <= ERASES_A_DAY_MAX
