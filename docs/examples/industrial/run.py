"""A line's raw data is read and summed up on the factory floor; the plant gets the sums, and sends set points.

Usage: .venv/bin/python docs/examples/industrial/run.py
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import Story

STROKES, WINDOW = 2000, 100
FORCE = "line-3/press-4/force"


def strokes(first: int, count: int) -> list[str]:
    return [json.dumps({"stroke": n, "kilonewtons": 118 + n * 7 % 5}) for n in range(first, first + count)]


def sums(lines: list[str]) -> list[str]:
    """One line for each WINDOW strokes that are complete."""
    made = []
    for at in range(0, len(lines) - WINDOW + 1, WINDOW):
        forces = [json.loads(line)["kilonewtons"] for line in lines[at : at + WINDOW]]
        made.append(json.dumps({"from": at, "strokes": WINDOW, "least": min(forces), "most": max(forces)}))
    return made


def main() -> int:
    with Story("Industrial: raw data stays on the floor, sums go up, set points come down", __file__) as story:
        line = story.edge()
        story.until("the line has a link", line.connected)

        story.tell("A program on the line reads raw data as it comes, and one waits for set points:")
        raw, setpoints = line.follow("consume machine.raw --follow"), line.follow("watch setpoints")
        time.sleep(0.5)

        story.cloud("produce setpoints --key %s 120" % FORCE)
        story.until("the press hears of it", lambda: setpoints.lines[-1:] == [FORCE + "\t120"])
        line.produce("machine.raw", strokes(0, STROKES // 2))
        story.until("the reader has every stroke", lambda: len(raw.lines) == STROKES // 2)

        story.cut()
        story.tell("The line goes on, and so does all that reads and writes on it:")
        line.produce("machine.raw", strokes(STROKES // 2, STROKES // 2))
        story.until("the reader has every stroke", lambda: raw.lines == strokes(0, STROKES))
        line.produce("line.summary", sums(raw.lines))
        story.tell("An operator turns the press down by hand; the planners, who cannot see that, turn it up:")
        line.cli("set setpoints %s 110" % FORCE)
        story.until("the press hears of it", lambda: setpoints.lines[-1:] == [FORCE + "\t110"])
        story.cloud("produce setpoints --key %s 125" % FORCE)

        story.tell("The link is back.")
        story.connect()
        story.until("the planners' word is the last, on the line, too", lambda: setpoints.lines[-1:] == [FORCE + "\t125"])
        story.agree()
        story.cloud("read line.summary")
        story.check("the plant has %d sums" % (STROKES // WINDOW), story.arrived("line.summary") == sums(strokes(0, STROKES)))
        story.check("and not one raw record", not story.arrived("machine.raw"))
        line.cli("conflicts explain setpoints %s" % FORCE)
    return story.code


if __name__ == "__main__":
    sys.exit(main())
