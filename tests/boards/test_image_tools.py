"""The tests of images where there is nothing to build with: they say what is missing, and fail nobody's run."""

import os
import subprocess
import sys

from board_process import ROOT

# They build no image.
OTHERS = "not wear and not wheel"


def test_without_micropythons_sources_the_tests_of_images_are_skipped_with_the_reason() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "image", "-k", OTHERS, "-rs", "tests/images"]
    environment = os.environ | {"MICROPYTHON_DIR": "/nonexistent"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0 and "MICROPYTHON_DIR /nonexistent: that is no clone of MicroPython" in done.stdout, done.stdout[-3000:]
    assert " skipped" in done.stdout.splitlines()[-1] and "failed" not in done.stdout.splitlines()[-1]
