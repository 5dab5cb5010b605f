"""What every test may ask for: a free port, a mosquitto, and random numbers that a failed run can repeat."""

import os
import platform
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mosquitto as broker

SEED = "STREAMLINE_SEED"


def pytest_configure() -> None:
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(1 << 32)))  # xdist's workers inherit it


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A number that differs between tests and runs, and is the same again under the same STREAMLINE_SEED."""
    value = zlib.crc32(request.node.nodeid.encode(), int(os.environ[SEED]))
    print("seed of this test: %d" % value)
    return value


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> None:
    random.seed(zlib.crc32(request.node.nodeid.encode(), int(os.environ[SEED])))


@pytest.fixture
def free_port() -> Callable[[], int]:
    return broker.free_port


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[broker.Mosquitto]:
    """A running broker; the test may stop(), kill() and start() it."""
    if broker.find_mosquitto() is None:
        pytest.skip(broker.MISSING)
    server = broker.Mosquitto(tmp_path)
    server.start()
    yield server
    server.kill()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran = [r for outcome in ("passed", "failed") for r in terminalreporter.stats.get(outcome, []) if r.when == "call"]
    on_cpython = sum(r.nodeid.startswith("tests/unit/") for r in ran)
    properties = [entry for r in ran for entry in r.user_properties]
    on_micropython = sum(value for name, value in properties if name == "micropython_tests")
    version = next((value for name, value in properties if name == "micropython_version"), "")
    if on_cpython or on_micropython:
        counts = (on_cpython, platform.python_version(), on_micropython, version)
        terminalreporter.write_line(("core unit tests: %d on CPython %s, %d on MicroPython %s" % counts).rstrip())
    for name, text in properties:
        if name == "figure":
            terminalreporter.write_line(str(text))
    if any(r.failed for r in ran):
        terminalreporter.write_line("seed: %s=%s repeats the random choices of this run" % (SEED, os.environ[SEED]))
