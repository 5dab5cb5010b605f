"""Small state of growing length in two slots, saved again and again.

Rule: what is loaded is the last content known to be durable, or one that was asked for after it. Must not know: how slots lie in a storage.
"""

from promises import Violation
from streamline_core.slots import Slots
from workload import Workload


class SlotsWorkload(Workload):
    """asked: contents handed over so far, content n being made from n; kept: the last one that is safe."""

    name = "slots"
    saves = 60

    def __init__(self, seed):
        super().__init__(seed)
        self.asked = 0
        self.kept = 0

    def copy_to(self, twin):
        twin.asked, twin.kept = self.asked, self.kept

    @staticmethod
    def content(number):
        return b"%d|" % number + bytes([(number + i) % 251 for i in range(number * 6)])

    def forget(self):
        """What a cut takes."""
        self.slots = None
        self.versions = []

    def open(self):
        self.slots = Slots(self.storage, "deep/cursor")
        found = self.slots.load()
        number = 0 if found is None else int(found.split(b"|")[0])
        if found is not None and found != self.content(number):
            raise Violation("slots: %r was never saved" % found[:40])
        if not self.kept <= number <= self.asked:
            raise Violation("slots: content %d; the last durable was %d, the last asked for %d" % (number, self.kept, self.asked))
        self.kept = number

    def save(self):
        self.asked += 1
        self.versions.append(self.asked)
        if self.slots.save(self.content(self.asked)) != len(self.versions):
            raise Violation("slots: a version is not the number of saves")

    def synced(self, ticket):
        if ticket == self.slots.ticket:
            self.slots.synced(None)

    def note_progress(self):
        if self.slots is not None and self.slots.durable_version:
            self.kept = max(self.kept, self.versions[self.slots.durable_version - 1])

    def idle(self):
        return not self.slots.ticket and not self.slots.stalled

    def live(self, medium):
        self.power_on(medium)
        for i in range(self.saves):
            self.save()
            if i % 3:
                self.deliver()
            if i % 8 == 7:
                self.settle()
        self.settle()

    def go_on(self):
        for _ in range(3):
            self.save()
        self.settle()

    def check(self):
        if self.versions and self.kept != self.asked:
            raise Violation("slots: all has settled, and the last content is not durable")

    def cut(self):
        self.note_progress()
