"""The tools of images where there is nothing to build with, or nothing to run: they say what is missing, and what there is."""

import os
import subprocess
import sys

import pytest

from board_process import ROOT

# They build no image.
OTHERS = "not wear and not wheel"


def test_without_micropythons_sources_the_tests_of_images_are_skipped_with_the_reason() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "image", "-k", OTHERS, "-rs", "tests/images"]
    environment = os.environ | {"MICROPYTHON_DIR": "/nonexistent"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0 and "MICROPYTHON_DIR /nonexistent: that is no clone of MicroPython" in done.stdout, done.stdout[-3000:]
    assert " skipped" in done.stdout.splitlines()[-1] and "failed" not in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", ["foo", "", "rpi_pico_w"])
def test_of_a_board_that_cannot_be_emulated_those_that_can_are_named(name: str) -> None:
    """rpi_pico_w is one that an image can be built for."""
    command = [sys.executable, str(ROOT / "tools" / "emulate.py"), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    known = "known are: qemu_mps2_an385, rpi_pico\n"
    assert done.returncode == 2 and done.stderr == "emulate: there is no board %s to emulate; %s" % (name or "''", known)
