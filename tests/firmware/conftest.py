"""What the tests of the firmware may ask for besides."""

import subprocess
from collections.abc import Iterator

import pytest


@pytest.fixture
def running() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Processes to end with the test."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()
