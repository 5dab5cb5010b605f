"""A ship without a link for so long that its disk is full; then there is one, and a plan for each megabyte.

Usage: .venv/bin/python docs/examples/remote_site/run.py
"""

import base64
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import Story

DAYS = 10
CAP = 6 << 20


def ships_time(hour: int) -> str:
    """A time zone in which it is now so late."""
    ahead = (hour - time.gmtime().tm_hour) % 24
    return "SHIP%+d" % -(ahead if ahead <= 12 else ahead - 24)  # POSIX counts westwards


def main() -> int:
    noise = random.Random(12)
    with Story("Remote site: a ship, weeks without a link, and windows", __file__, link=False) as story:
        ship = story.edge(SYNC__RETRY__MAX_MS="500")
        ship.stop()
        ship.start(TZ=ships_time(13))

        story.tell("It is far out for %d days. What is written is more than the disk may take:" % DAYS)
        for day in range(DAYS):
            ship.produce("logbook", [json.dumps({"day": day, "watch": watch, "sea": "calm"}) for watch in range(6)], quietly=True)
            ship.produce("engine", [json.dumps({"day": day, "s": s, "rpm": 90 + noise.random()}) for s in range(1500)], quietly=True)
            pictures = [base64.b85encode(noise.randbytes(15000)).decode() for _ in range(45)]
            ship.produce("thumbnails", pictures, quietly=True)
            story.code |= ship.status()["stored_bytes"] > CAP
        ship.cli("ledger")
        lost = {topic: sum(ship.row(topic)["unconfirmed"].values()) for topic in ("logbook", "engine", "thumbnails")}
        story.check("the disk took 6 MB and no more", not story.code)
        story.check("the oldest thumbnails are gone, and nothing else", lost["thumbnails"] > 0 and lost["logbook"] == lost["engine"] == 0)

        story.tell("A harbour; its network is there by day, the windows are at night:")
        story.connect()
        story.until("connected", ship.connected)
        ship.cli("sync status")
        ship.produce("distress", ['{"medical": "advice wanted"}'])
        story.until("what is urgent leaves at once", lambda: len(story.arrived("distress")) == 1)
        story.check("all else waits", not story.arrived("logbook") and not story.arrived("engine"))
        story.tell("What would one megabyte be worth tonight?")
        ship.cli("sync plan --budget 1MB")

        story.tell("Two o'clock at night, and the agent was restarted in between:")
        ship.stop()
        ship.start(TZ=ships_time(2))
        story.until("the log book is ashore", lambda: len(story.arrived("logbook")) == 6 * DAYS)
        story.until("so is the engine's", lambda: len(story.arrived("engine")) == 1500 * DAYS)
        left = ship.row("thumbnails")["pending"]
        story.check("before the thumbnails, of which %d wait" % left, left > 0)
        ship.cli("sync status")
    return story.code


if __name__ == "__main__":
    sys.exit(main())
