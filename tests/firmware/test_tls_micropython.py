"""TLS of the MicroPython edge, its core as bytecode, against a real mosquitto: who the broker is, is verified, and nothing waits for it."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

import mpy
import tls_promises
from board_process import module_path
from mosquitto import MISSING, find_mosquitto

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.broker,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
    pytest.mark.skipif(find_mosquitto() is None, reason=MISSING),
]


def start(config: Path, log: Path) -> "subprocess.Popen[bytes]":
    program = mpy.find_micropython()
    assert program is not None
    with log.open("wb") as output:
        return subprocess.Popen(
            [program, "-X", "heapsize=512k", "-m", "streamline_board", "--status", "--config", str(config)],
            stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=os.environ | {"MICROPYPATH": module_path()},
        )  # fmt: skip


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_syncs_with_a_broker_that_a_bundle_of_authorities_vouches_for(tmp_path: Path, kind: str) -> None:
    tls_promises.syncs(tmp_path, start, kind)


@pytest.mark.parametrize("which", ["expired", "wrong host", "stranger"])
def test_a_broker_that_is_not_whom_it_should_be_is_refused_and_why_is_said(tmp_path: Path, which: str) -> None:
    tls_promises.refuses(tmp_path, start, which)


@pytest.mark.parametrize(("kind", "encoding"), [("ec", "pkcs8"), ("rsa", "openssl")])
def test_a_broker_that_wants_a_certificate_gets_the_nodes(tmp_path: Path, kind: str, encoding: str) -> None:
    tls_promises.shows_its_certificate(tmp_path, start, kind, encoding)


def test_a_broker_that_says_nothing_holds_nothing_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tls_promises.never_waits(tmp_path, start, silent.getsockname()[1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "ca.pem: cannot be read: [Errno 2] ENOENT"),
        ("", "no CERTIFICATE in it"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", "no CERTIFICATE in it"),
        ("-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n" % (("A" * 64 + "\n") * 200), "more than 8192 bytes"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ca.pem: invalid cert"),
    ],
)
def test_a_ca_file_that_is_none_is_named_and_nothing_is_sent(tmp_path: Path, text: str | None, words: str) -> None:
    ca = tmp_path / "ca.pem"
    if text is not None:
        ca.write_text(text)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with tls_promises.Run(tmp_path, start, listening.getsockname()[1], ca) as run:
            assert words in run.refusal()
