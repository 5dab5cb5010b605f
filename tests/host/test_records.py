"""The generator of telemetry records: its promise is held against numbers, so that a change shows."""

import json
import subprocess
import sys
import zlib
from pathlib import Path

import zstandard

import records

EXPECTED_CRC = 3900418437  # of the first 1,000 of seed 1
TOOL = Path(__file__).parents[2] / "tools" / "records.py"


def test_every_record_is_json_of_213_bytes() -> None:
    made = records.generate(5000, seed=7)
    assert {len(record) for record in made} == {213}
    parsed = [json.loads(record) for record in made]
    assert {record["status"] for record in parsed} <= set(records.STATUSES)
    assert all(18 <= record["temp"] <= 94 and 1008 <= record["mbar"] <= 1035 for record in parsed)
    times = [record["time"] for record in parsed]
    assert times == sorted(times) and len(set(made)) == len(made)


def test_a_seed_is_one_list_on_every_python() -> None:
    made = records.generate(1000, seed=1)
    assert zlib.crc32(b"".join(made)) == EXPECTED_CRC
    assert records.generate(100, seed=1) == made[:100]
    assert records.generate(100, seed=2) != made[:100]


def test_it_compresses_as_telemetry_does() -> None:
    data = b"".join(records.generate(10_000))
    each = len(zstandard.ZstdCompressor(level=3).compress(data)) / 10_000
    assert 40 < each < 50


def test_the_command_prints_lines() -> None:
    command = [sys.executable, str(TOOL), "3", "--seed", "5"]
    done = subprocess.run(command, capture_output=True, timeout=100, check=True)
    assert done.stdout.splitlines() == records.generate(3, seed=5)
