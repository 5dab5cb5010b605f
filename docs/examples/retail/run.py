"""A store sells while it is cut off, and counts a shelf that head office has counted, too.

Usage: .venv/bin/python docs/examples/retail/run.py
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import Story

SALES = [json.dumps({"till": 3, "receipt": n, "cents": 199 + n % 900}) for n in range(500)]
SHELF = "store-014/sku-8812"


def main() -> int:
    with Story("Retail: transactions up, promotions down, inventory both ways", __file__) as story:
        store = story.edge()
        story.until("the store has a link", store.connected)
        story.cloud("define promotions --direction cloud_to_edge", quietly=True)

        story.tell("Head office has a promotion, and says what should be on two shelves:")
        story.cloud('produce promotions "20 percent off tea"')
        story.cloud("produce inventory --key %s 12" % SHELF)
        story.cloud("produce inventory --key store-099/sku-8812 40")
        story.until("the store has its shelf", lambda: store.cli("get inventory %s" % SHELF, quietly=True) == "12\n")
        story.until("and the promotion", lambda: "tea" in store.cli("consume promotions", quietly=True))
        story.check("the other store's shelf is not sent here", store.cli("keys inventory") == SHELF + "\n")

        story.cut()
        store.produce("pos.transactions", SALES[:300], producer="till-3")
        story.tell("The till crashes in the middle, and sends its day again; --producer knows what is there:")
        told = store.produce("pos.transactions", SALES, producer="till-3")
        story.check("300 of them are recognised", "200 stored, 300 repeats skipped" in told)
        story.tell("Somebody counts the shelf; head office, which cannot know, corrects its figure, too:")
        store.cli("set inventory %s 7" % SHELF)
        story.cloud("produce inventory --key %s 11" % SHELF)

        story.tell("The link is back.")
        story.connect()
        story.until("every sale is in the cloud, in order, once", lambda: story.arrived("pos.transactions") == SALES)
        story.until("the cloud shows what was counted", lambda: story.cloud("get inventory %s" % SHELF, quietly=True) == "7\n")
        story.until("the store has both versions", lambda: SHELF in store.cli("conflicts", quietly=True))
        store.cli("conflicts explain inventory %s" % SHELF)
        story.check("the store shows 7", store.cli("get inventory %s" % SHELF, quietly=True) == "7\n")
        story.check("and has it in writing", SHELF in store.cli("consume local.conflicts", quietly=True))
        story.agree()
    return story.code


if __name__ == "__main__":
    sys.exit(main())
