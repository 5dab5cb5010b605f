"""The watchdog and the firmware's loop, on a real MicroPython. The watchdog itself is a stand-in that notes when it was fed: this
MicroPython has none. The real one, of an emulated board, is a test of that board's image."""

import json
import subprocess
from pathlib import Path

import pytest

import mpy
from board_process import module_path

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]

# argv: the configuration, what goes wrong at 1,500 ms. Prints how long the watchdog was not fed at the most, before and from then on.
SCRIPT = """
import sys, time
from streamline_board.configuration import load
from streamline_board.loop import WAIT_MS_MAX, Loop
from streamline_board.watchdog import TIMEOUT_MS_MIN, Watchdog

assert WAIT_MS_MAX * 2 <= TIMEOUT_MS_MIN
START = time.ticks_ms()

def now():
    return time.ticks_diff(time.ticks_ms(), START)

class StandIn:
    last, longest = 0, [0, 0]
    def feed(self):
        at = now()
        late = at >= 1500
        self.longest[late] = max(self.longest[late], at - self.last)
        self.last = at

class Source:
    def produce(self, node, now_ms):
        if now() >= 1500:
            if sys.argv[2] == "stuck":
                while now() < 4000:
                    pass
            elif sys.argv[2] == "no memory" and now() < 4000:
                raise_in_the_turn()
            elif sys.argv[2] == "raises":
                raise OSError(5)
        node.produce("load", b"1")
        return now_ms + 100

def raise_in_the_turn():
    loop.node.tick = out

def out():
    if now() < 4000:
        raise MemoryError
    return -1

device = StandIn()
loop = Loop(load(sys.argv[1]), Source(), watchdog=Watchdog(device))
while now() < 4500:
    try:
        wait_ms = loop.turn()
    except OSError:
        wait_ms = 100  # nothing of ours: the agent crashes, and the board is reset
    time.sleep_ms(min(wait_ms, 1000))
print(device.longest[0], max(device.longest[1], now() - device.last))
"""


def longest(folder: Path, what: str) -> tuple[int, int]:
    config, script = folder / "edge.json", folder / "fed.py"
    config.write_text(json.dumps({"node_id": "a", "data_dir": str(folder / "data"), "local_topics": ["load"]}))
    script.write_text(SCRIPT)
    command = [str(mpy.find_micropython()), "-X", "heapsize=1m", str(script), str(config), what]
    result = subprocess.run(command, env={"MICROPYPATH": module_path()}, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stderr
    before, then = result.stdout.split()
    return int(before), int(then)


def test_a_loop_that_turns_feeds_in_time(tmp_path: Path) -> None:
    before, then = longest(tmp_path, "nothing")
    assert 0 < before < 1500 and 0 < then < 1500


@pytest.mark.parametrize("what", ["stuck", "no memory", "raises"])
def test_a_loop_that_is_stuck_or_gets_no_work_done_does_not_feed(tmp_path: Path, what: str) -> None:
    before, then = longest(tmp_path, what)
    assert before < 1500 and then >= 2300, (before, then)
