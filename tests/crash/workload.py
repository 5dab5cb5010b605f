"""Work whose power may go at any moment, and what was promised of it: what all workloads have in common.

Rule: a workload asks for nothing that its promises do not know first, so that a cut in the middle of any call finds them ready to
judge. A life is `live` (the first), or `recover` and `go_on`; what outlives a cut is what `copy` copies. Must not know: where or why the
power goes.
"""

from harness import FakeEntropy, Random
from promises import Violation
from streamline_core.log_limits import LogLimits

SEGMENT_BYTES = 1024
BATCH_BYTES = 512
PRODUCER = 7
SETTLE_ROUNDS_MAX = 400  # of one virtual millisecond, until everything asked for is done


def limits():
    return LogLimits(SEGMENT_BYTES, BATCH_BYTES, 1 << 20, 5, 16)


class Workload:
    """lives: how often the power came."""

    name = ""

    def __init__(self, seed):
        self.seed = seed
        self.lives = 0
        self.forget()

    def copy(self):
        """What outlives a cut; its machine is off."""
        twin = type(self)(self.seed)
        twin.lives = self.lives
        self.copy_to(twin)
        return twin

    def power_on(self, medium):
        self.forget()
        self.lives += 1
        self.random = Random(self.seed * 7919 + self.lives)
        self.entropy = FakeEntropy(self.seed * 104729 + self.lives)
        self.clock = medium.clock
        self.storage = medium.power_on()
        self.open()

    def recover(self, medium):
        """Open what a cut left, and let it settle."""
        self.power_on(medium)
        self.settle()

    def tick(self):
        """What a shell does after any input."""

    def deliver(self):
        """A millisecond passes; what the storage has completed is reported."""
        self.clock.advance(1)
        for ticket, error in self.storage.completed():
            assert error is None, error
            self.synced(ticket)
        self.note_progress()

    def settle(self):
        for _ in range(SETTLE_ROUNDS_MAX):
            self.tick()
            self.deliver()
            if self.idle():
                return
        raise Violation("%s: nothing is left to wait for, and it is not settled" % self.name)
