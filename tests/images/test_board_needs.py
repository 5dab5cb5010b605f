"""The heap that `streamline-cli board provision` reckons with, against a real 32-bit MicroPython: what the formula grants runs, and what
runs in much less is not refused."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

import toolchain
from heap_needs import Measurement
from mosquitto import MISSING, find_mosquitto
from streamline_core.config import EdgeConfig
from streamline_edge import board_needs

try:
    toolchain.need("qemu-arm-static", "qemu-user-static")
    toolchain.need("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf")
    LACKING = "" if find_mosquitto() else MISSING
except toolchain.Missing as missing:
    LACKING = str(missing)

pytestmark = [
    pytest.mark.image,
    pytest.mark.broker,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(LACKING), reason=LACKING or "all is here"),
]

BASE: dict[str, Any] = {
    "frame_bytes_max": 2048,
    "log": {"segment_bytes": 16384, "batch_bytes": 1792, "buffer_bytes": 32768, "commit_interval_ms": 100, "producers_max": 4},
    "resources": {"max_storage": 1048576},
    "sync_topics": ["a"],
}
LARGE_FRAMES = {"frame_bytes_max": 8192, "log.batch_bytes": 7936}
TOPICS = {"sync_topics": list("abcdefghi")}
PARTITIONS = {"sync_topics": [{"topic": "p", "partitions": 4}]}
SEGMENTS = {"log.segment_bytes": 4096}
DOWN = {"sync_topics": ["a", {"topic": "d", "direction": "cloud_to_edge"}]}
KEYED = {"sync_topics": ["a", {"topic": "k", "kind": "keyed", "direction": "bidirectional"}]}


@pytest.fixture(scope="module")
def measurement(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measurement]:
    with Measurement(tmp_path_factory.mktemp("heap")) as made:
        yield made


@pytest.mark.parametrize(
    ("changes", "offline"),
    [({}, 0), (LARGE_FRAMES, 0), (TOPICS, 0), (PARTITIONS, 0), (SEGMENTS, 6000), (DOWN, 0), (KEYED, 0)],
    ids=["least", "large frames", "topics", "partitions", "segments", "down", "keyed"],
)
def test_what_the_formula_grants_runs_and_two_thirds_of_it_do_not(measurement: Measurement, changes: dict[str, Any], offline: int) -> None:
    given = copy.deepcopy(BASE)
    for key, value in changes.items():
        section, _, inner = key.rpartition(".")
        (given[section] if section else given)[inner] = value
    granted = board_needs.heap_bytes(EdgeConfig.from_dict(dict(given, node_id="n")))
    assert measurement.runs(given, granted, 400, offline), "%d bytes do not do" % granted
    assert not measurement.runs(given, granted * 2 // 3, 400, offline), "%d bytes are asked for, and two thirds do" % granted
