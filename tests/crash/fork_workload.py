"""A partition whose receiver holds other content from some offset on: twice it forks; a fork that a cut undid is found again.

Rule: a record stands in one place: below the seal, or in the successor, as many offsets lower as the seal is high. The number of epochs is
that of the forks. Must not know: how the seal gets onto the disk.
"""

from log_workload import LogWorkload
from promises import Violation
from streamline_core.hlc import HybridClock
from streamline_core.partition import Partition
from streamline_core.sender import Parting
from streamline_core.topic import TopicDefinition
from workload import limits


class ForkWorkload(LogWorkload):
    name = "fork"

    def __init__(self, seed):
        super().__init__(seed)
        self.part = -1, 0  # (epoch, offset) where the receiver parts from what is here; epoch -1: nowhere
        self.forks = 0  # that were reported complete

    def copy_to(self, twin):
        twin.promises = self.promises.copy()
        twin.part, twin.forks = self.part, self.forks

    def forget(self):
        self.partition = None
        self.forking = False  # a fork was asked for in this life, and is not done

    def open(self):
        clock = HybridClock(self.clock)
        self.partition = Partition("e1", "t", 0, TopicDefinition(), self.storage, limits(), clock, self.entropy)
        if self.part[0] >= 0 and self.current().stream.epoch != self.part[0]:
            self.fork_done()  # the seal got there, though nobody was told
        if len(self.partition.logs()) != self.forks + 1:
            raise Violation("fork: %d epochs after %d forks" % (len(self.partition.logs()), self.forks))

    def fork_done(self):
        self.forks += 1
        self.part = -1, 0
        self.forking = False

    def logs(self):
        return self.partition.logs() if self.partition is not None else []

    def current(self):
        return self.partition.current

    def synced(self, ticket):
        for log in self.partition.all_logs():
            if log.owns(ticket):
                log.synced(ticket, None)
                return

    def fork(self, offset):
        """The receiver says that it holds other content from `offset` on; it has two records more than that."""
        old = self.current()
        self.part = old.stream.epoch, offset
        self.forking = True
        self.partition.fork(old, Parting(offset, offset + 2, offset + 2, {}))

    def carry_on(self):
        """Let the fork go on; when what follows the seal has moved, it may be looked for there."""
        old = self.current()
        self.partition.tick()
        successor = self.current()
        if successor is not old:
            seal = old.ends_at
            if not 0 <= seal <= self.part[1]:
                raise Violation("fork: sealed at %d, the receiver parts at %d" % (seal, self.part[1]))
            self.promises.forked(old.stream.epoch, seal, successor.stream.epoch)
            self.promises.confirm(old.stream.epoch, seal)

    def note_progress(self):
        super().note_progress()
        if self.forking and self.current().stream.epoch != self.part[0] and not self.current().held:
            self.fork_done()

    def tick(self):
        self.carry_on()
        super().tick()

    def deliver(self):
        self.carry_on()
        super().deliver()

    def idle(self):
        return super().idle() and not self.forking

    def live(self, medium):
        self.power_on(medium)
        for i in range(5):
            self.some(i)
            self.current().commit()
            if i == 2:
                self.settle()
                self.gap_over_one()
        self.settle()
        self.confirm(self.current(), 3)
        self.some(0)
        self.fork(self.current().durable - 9)
        self.some(1)
        self.deliver()
        self.some(4)
        self.current().commit()
        self.settle()
        self.evict(self.logs()[0])
        self.some(2)
        self.current().commit()
        self.settle()
        self.some(1)
        self.fork(self.current().durable - 1)
        self.settle()
        self.some(0)
        self.current().commit()
        self.settle()

    def go_on(self):
        if self.part[0] >= 0:
            self.fork(self.part[1])
            self.some(0)
        super().go_on()
