"""A heap that is full: the firmware's loop on a real MicroPython goes on, says so, and delivers everything once there is memory again."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

import mpy
import soak
from board_process import module_path
from soak_far_end import FarEnd

HEAP = "320k"
RECORDS_MAX = 100_000
EVERY_MS, PER_STEP = 200, 3
SQUEEZED_TURNS = 60
FREE_TURNS = 60
DRAIN_TURNS = 6000
SQUEEZES = 10  # of soak_board

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]


class Squeezed:
    """A board, its far end, and a heap that can be filled up."""

    def __init__(self, folder: Path) -> None:
        self.far_end = FarEnd(soak.NODE)
        command, path = soak.plain_program(HEAP, folder)
        flash = folder / "flash"
        flash.write_bytes(b"\xff" * (soak.BLOCKS * soak.BLOCK_BYTES))
        config = soak.configuration(folder, self.far_end.port, 768 * 1024)
        words = [str(config), str(flash), str(soak.BLOCKS), str(RECORDS_MAX), str(EVERY_MS), str(PER_STEP)]
        self.board = soak.Board([*command, "-m", "soak_board", *words], path, folder)
        self.now_ms = 0
        self.offline = False

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.now_ms = self.board.turned()
            self.far_end.pump(self.now_ms)
            self.board.go_on()

    def order(self, what: bytes) -> None:
        self.now_ms = self.board.turned()
        self.far_end.pump(self.now_ms)
        self.board.go_on(what)

    def sample(self) -> soak.Sample:
        self.order(b"m")
        return self.board.sample(self.now_ms, self.offline)

    def end(self) -> None:
        self.board.end()
        self.far_end.close()


@pytest.fixture
def squeezed(tmp_path: Path):
    board = Squeezed(tmp_path)
    yield board
    board.end()


def test_at_every_size_of_a_full_heap_it_goes_on_and_all_arrives(squeezed: Squeezed, seed: int) -> None:
    draw = random.Random(seed)
    squeezed.turns(FREE_TURNS)
    before = squeezed.sample()
    assert not before.memory_errors and squeezed.far_end.store.count
    met = []
    for left in sorted(range(SQUEEZES), reverse=True):
        for cut in (False, True):
            errors = squeezed.sample().memory_errors
            squeezed.order(b"%d" % left)
            squeezed.turns(draw.randrange(SQUEEZED_TURNS))
            if cut:  # it has to connect and greet without memory
                squeezed.far_end.cut()
                squeezed.turns(5)
                squeezed.far_end.mend()
            squeezed.turns(SQUEEZED_TURNS)
            squeezed.order(b"f")
            squeezed.turns(FREE_TURNS)
            met.append(squeezed.sample().memory_errors - errors)
    print("errors met, from the most memory left to none:", met)
    last = squeezed.sample()
    for _ in range(DRAIN_TURNS // 100):
        squeezed.turns(100)
        last = squeezed.sample()
        if not last.pending:
            break
    store = squeezed.far_end.store
    print(last, store.count, store.highest, store.lost)
    assert sum(met) > 10 and met[-1], "nothing was ever short"
    reached = sum([state.next for state in store.states.values()])
    assert set(store.lost) <= {"torn"} and last.durable == reached, "what was durable is missing"
    if not last.refused:  # the log was not opened anew: so all that was accepted is there
        assert not store.lost and last.produced == store.count == store.highest + 1, "what was accepted did not all arrive"
    assert last.used < before.used + 8192, "what was given up was never freed"


def test_a_heap_too_small_to_start_in_is_said_in_a_line(tmp_path: Path) -> None:
    """Whatever the size: it runs, or it says why not and ends with the code of a wrong configuration."""
    config = tmp_path / "edge.json"
    config.write_text(json.dumps({"node_id": "a", "data_dir": str(tmp_path / "data"), "local_topics": ["load"]}))
    codes = []
    for heap_kb in range(120, 400, 4):
        words = ["-X", "heapsize=%dk" % heap_kb, "-m", "streamline_board", "--config", str(config), "--status"]
        command = [str(mpy.find_micropython()), *words]
        environment = os.environ | {"MICROPYPATH": module_path()}
        result = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)
        codes.append(result.returncode)
        if result.returncode:
            assert result.returncode == 2, (heap_kb, result.stderr)
            assert "the heap is too small for %s" % config in result.stderr, (heap_kb, result.stderr)
            assert len(result.stderr.splitlines()) == 1, (heap_kb, result.stderr)
    assert codes[0] == 2 and codes[-1] == 0 and codes == sorted(codes, reverse=True), codes
