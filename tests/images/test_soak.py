"""A million records over a day of injected time on a 32-bit build with a heap of 128 KB: the heap does not grow, nor fall to pieces."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import board_image
import soak
import toolchain

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 1_000_000
HEAP = "128k"
USED_BYTES_MAX = 100 << 10  # the rest is for garbage, and for an application

pytestmark = pytest.mark.image


@pytest.mark.timeout(1800)
def test_a_day_of_a_million_records_in_128_kb(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    try:
        command, path = soak.frozen_program(HEAP, tmp_path)
    except toolchain.Missing as missing:
        pytest.skip(str(missing))
    found = soak.run(command, path, tmp_path, RECORDS, 24, 16)
    soak.show(found, False)
    used, piece = max([sample.used for sample in found.samples]), min([sample.piece_bytes for sample in found.samples])
    record_property(
        "figure",
        "soak of a day in a heap of %s: %d records in %.0f s (%.0f a second), %d connections; in use %d bytes at the most, %d free in one "
        "piece at the least" % (HEAP, found.produced, found.secs, found.produced / found.secs, found.sessions, used, piece),
    )
    assert not found.problems
    assert found.produced == RECORDS and found.lost and found.sessions > soak.OUTAGES // 2
    assert used <= USED_BYTES_MAX


def test_the_interpreter_of_images_allocates_nothing_for_a_value() -> None:
    """MicroPython 1.25 makes an object of each slice, where newer ones do not."""
    try:
        image = board_image.build("edge_lite", soak.ARCHITECTURE)
    except toolchain.Missing as missing:
        pytest.skip(str(missing))
    path = ":".join(["shared", "tests/unit", "firmware", "tests/crash", ".frozen"])
    command = [str(image.path), "--heap", "16M", "--repl", "tests/unit/run_micropython.py", "test_hot_path"]
    environment = os.environ | {"MICROPYPATH": path}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    print(result.stdout, result.stderr, file=sys.stderr)
    assert result.returncode == 0 and result.stdout.count("PASS") >= 8
