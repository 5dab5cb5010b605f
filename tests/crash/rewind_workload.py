"""A feed that the hub has a node read again from an earlier offset: asked for at the node, and by a hub whose store was rolled back.

Rule: what lies below the place where the two part stays as it was; from there on a reader is shown what the cloud has now. Must not know:
how a rewind gets onto the disk.
"""

from feed_workload import FeedWorkload, copy_of_store
from promises import Violation


class RewindWorkload(FeedWorkload):
    name = "rewind"

    def __init__(self, seed):
        super().__init__(seed)
        self.backup = None  # a store, and where the feed ended in it

    def copy_to(self, twin):
        super().copy_to(twin)
        twin.backup = (copy_of_store(self.backup[0]), self.backup[1]) if self.backup is not None else None

    def rewind(self, offset):
        """The node is to ask again for all from `offset` on, though the hub has the same."""
        self.feed.rewind(offset)
        self.node.downlink.feeds["promo", 0].rewind(offset)

    def keep_backup(self):
        self.backup = copy_of_store(self.store), len(self.feed.timeline)

    def roll_back(self):
        """The hub's store is restored from the backup, and the hub starts again and says so."""
        store, head = self.backup
        self.store = self.world.store = copy_of_store(store)
        self.feed.rolled_back(head)
        self.world.crash_hub()
        self.node.link.hub_status(True, "".join(["%02x" % b for b in self.world.hub.boot]))

    def live(self, medium):
        self.power_on(medium)
        self.publish(6)
        self.steps(3)
        self.edge.connect()
        self.steps(8)
        self.publish(12, 60)
        self.steps(6)
        self.rewind(5)
        self.steps(2)
        self.publish(3)
        self.steps(8)
        self.keep_backup()
        self.publish(9, 70)
        self.steps(6)
        self.roll_back()
        self.publish(4)
        self.steps(3)
        for _ in range(3):
            self.step(1000)
            self.steps(8)
        self.publish(5)
        self.steps(4)
        self.rewind(len(self.feed.timeline) - 1)
        self.steps(6)
        self.node.close()
        self.settle()

    def recover(self, medium):
        self.power_on(medium)
        self.settle()

    def go_on(self):
        self.publish(2)
        self.drain()
        self.feed.check(self.from_the_beginning(), True)
        self.rewind(len(self.feed.timeline) // 2)
        self.steps(3)
        self.drain()
        self.feed.check(self.from_the_beginning(), True)
        if self.feed.read_to != len(self.feed.timeline):
            raise Violation("feed: all has arrived, and its reader stays at %d" % self.feed.read_to)
        self.edge.disconnect()
        self.settle()
