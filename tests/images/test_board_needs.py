"""The heap that `streamline-cli board provision` reckons with, against a real 32-bit MicroPython: what the formula grants runs, and what
runs in much less is not refused."""

import copy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import toolchain
from board_process import ROOT
from heap_needs import Measurement, program
from mosquitto import MISSING, find_mosquitto
from streamline_core.config import EdgeConfig
from streamline_edge import board_needs

pytestmark = [
    pytest.mark.image,
    pytest.mark.broker,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_mosquitto() is None, reason=MISSING),
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
COMPACT = {"resources.eviction_policy": "compact"}
KEYED = {"sync_topics": ["a", {"topic": "k", "kind": "keyed", "direction": "bidirectional"}]}


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    try:
        toolchain.need("qemu-arm-static", "qemu-user-static")
        program()
    except toolchain.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def measurement(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measurement]:
    with Measurement(tmp_path_factory.mktemp("heap")) as made:
        yield made


@pytest.mark.parametrize(
    ("changes", "offline"),
    [({}, 0), (LARGE_FRAMES, 0), (TOPICS, 0), (PARTITIONS, 0), (SEGMENTS, 6000), (DOWN, 0), (COMPACT, 0), (KEYED, 0)],
    ids=["least", "large frames", "topics", "partitions", "segments", "down", "compact", "keyed"],
)
def test_what_the_formula_grants_runs_and_two_thirds_of_it_do_not(measurement: Measurement, changes: dict[str, Any], offline: int) -> None:
    given = copy.deepcopy(BASE)
    for key, value in changes.items():
        section, _, inner = key.rpartition(".")
        (given[section] if section else given)[inner] = value
    granted = board_needs.heap_bytes(EdgeConfig.from_dict(dict(given, node_id="n")))
    assert measurement.runs(given, granted, 400, offline), "%d bytes do not do" % granted
    assert not measurement.runs(given, granted * 2 // 3, 400, offline), "%d bytes are asked for, and two thirds do" % granted


FLASH = r"""
import gc, sys
sys.path.append({folder!r})
from on_flash.flash_storage import FlashStorage

class Flash:
    def __init__(self, blocks):
        self.blocks, self.file = blocks, open({folder!r} + "/flash.bin", "w+b")
        for _ in range(blocks):
            self.file.write(b"\xff" * 4096)
    def readblocks(self, block, buf, offset):
        self.file.seek(block * 4096 + offset)
        self.file.readinto(buf)
    def writeblocks(self, block, buf, offset):
        self.file.seek(block * 4096 + offset)
        self.file.write(buf)
    def ioctl(self, op, block):
        return (self.blocks, 4096)[op - 4] if op < 6 else self.writeblocks(block, b"\xff" * 4096, 0) or 0

def used():
    gc.collect()
    return gc.mem_alloc()

device, data = Flash(2000), bytes(65536)
before = used()
storage = FlashStorage(device, None)
opened = used()
for n in range(100):
    storage.append("readings-0/board-17-0123abcd/%020d.seg" % n, data)
print(opened - before, (used() - opened) // 100)
"""
CORE_SEGMENT_BYTES = 22  # what the log itself remembers of one: two lists of ints, measured above with many segments


def test_a_segment_on_a_raw_flash_takes_what_is_reckoned_for_it(tmp_path: Path) -> None:
    (tmp_path / "on_flash").mkdir()
    for name in ("flash_storage.py", "flash_blocks.py"):  # they are not frozen into this binary
        shutil.copy(ROOT / "firmware" / "streamline_board" / name, tmp_path / "on_flash")
    script = tmp_path / "script.py"
    script.write_text(FLASH.replace("{folder!r}", repr(str(tmp_path))))
    done = subprocess.run([*program(), "--heap", "2m", "--repl", str(script)], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    opened, segment = map(int, done.stdout.split())
    assert opened < 2000 + 1024
    assert 0.8 * board_needs.PER_FLASH_SEGMENT_BYTES < segment + CORE_SEGMENT_BYTES <= board_needs.PER_FLASH_SEGMENT_BYTES
