"""TLS of streamline-edge-lite, the static file: no wrapper is frozen in, and it must be as strict as it is elsewhere."""

import subprocess
from functools import cache
from pathlib import Path

import pytest

import board_image
import tls_promises
import toolchain
from mosquitto import MISSING, find_mosquitto

pytestmark = [
    pytest.mark.image,
    pytest.mark.broker,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_mosquitto() is None, reason=MISSING),
]


@cache
def program() -> Path:
    try:
        return board_image.build("edge_lite").path
    except toolchain.Missing as missing:
        pytest.skip(str(missing))


def start(config: Path, log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        words = [program(), "--config", config, "--status"]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env={})


def test_syncs(tmp_path: Path) -> None:
    tls_promises.syncs(tmp_path, start, "ec")


@pytest.mark.parametrize("which", ["expired", "wrong host", "stranger"])
def test_a_broker_that_is_not_whom_it_should_be_is_refused(tmp_path: Path, which: str) -> None:
    tls_promises.refuses(tmp_path, start, which)


def test_a_broker_that_wants_a_certificate_gets_the_nodes(tmp_path: Path) -> None:
    tls_promises.shows_its_certificate(tmp_path, start, "rsa", "pkcs8")
