"""A million records over a day of injected time on a 32-bit build with a heap of 128 KB: the heap does not grow, nor fall to pieces."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import board_image
import soak
import toolchain

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 1_000_000
HEAP = "128k"

pytestmark = pytest.mark.image


@pytest.mark.timeout(1800)
def test_a_day_of_a_million_records_in_128_kb(tmp_path: Path) -> None:
    try:
        command, path = soak.frozen_program(HEAP, tmp_path)
    except toolchain.Missing as missing:
        pytest.skip(str(missing))
    found = soak.run(command, path, tmp_path, RECORDS, 24, 16)
    soak.show(found, False)
    assert not found.problems
    assert found.produced == RECORDS and found.lost and found.sessions > soak.OUTAGES // 2
    assert max([sample.used + sample.free for sample in found.samples]) < 128 * 1024


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
