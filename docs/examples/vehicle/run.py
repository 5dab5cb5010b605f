"""A van drives; an alarm arrives at once, and the drive when the van is parked.

Usage: .venv/bin/python docs/examples/vehicle/run.py
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import Story

SAMPLES = 3000


def driving() -> list[str]:
    """Five minutes at ten samples a second."""
    return [json.dumps({"s": i / 10, "km_h": 30 + i % 50, "lat": 37.77 + i * 1e-6, "lon": -122.41 - i * 1e-6}) for i in range(SAMPLES)]


def main() -> int:
    with Story("Vehicle: driving data when parked, alarms at once", __file__) as story:
        van = story.edge()
        parked = story.folder / "parked"
        story.until("the van has a link", van.connected)

        story.tell("It drives. There is a mobile network, but that one costs money; it is not parked, so the drive stays aboard:")
        van.produce("driving", driving())
        van.produce("trips", ['{"trip": 1, "km": 4.2}'])
        van.cli("sync status")

        story.tell("The brakes are too hot. That is urgent:")
        van.produce("alarms", ['{"alarm": "brakes", "celsius": 412}'])
        story.until("the alarm is in the cloud", lambda: len(story.arrived("alarms")) == 1, 3)
        story.check("of the drive nothing is", not story.arrived("driving") and not story.arrived("trips"))
        van.cli("queue")

        story.tell("The van is parked: the ignition's script makes the file `parked`, which is looked at every 5 s.")
        parked.touch()
        story.until("the drive is in the cloud", lambda: len(story.arrived("driving")) == SAMPLES)
        story.check("in order, and once", story.arrived("driving") == driving())
        story.agree()
    return story.code


if __name__ == "__main__":
    sys.exit(main())
