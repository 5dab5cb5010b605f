"""Cuts the power of a workload at call 1, 2, 3, … to its end, and again at every call of the recovery; after each cut every promise is
checked.

Usage: sweep.py STORAGE WORKLOAD SEED [--step N] [--part I/N] [--seconds-step N] [--replay K:FLAVOUR:SECOND]

Rule: everything random comes from the seed and the place of the cut, so a case is named by WORKLOAD:K:FLAVOUR:SECOND:SEED and happens again
under that name. Runs on both interpreters; crash.py starts it. Must not know: what a storage or a workload does.
"""

import sys

from flash_medium import FlashMedium
from memory_medium import MemoryMedium
from promises import Violation
from workloads import WORKLOADS

FLAVOURS = ("none", "part", "all", "torn", "any")
RECOVERY_CALLS_MAX = 1000  # more than this, and a recovery does not end
VIOLATIONS_MAX = 20  # a sweep that found so many has found enough


class Sweep:
    """medium_class, workload_class: what is cut, and what is done on it. tell: called with a line of progress now and then."""

    def __init__(self, medium_class, workload_class, seed, tell=None):
        self.medium_class = medium_class
        self.workload_class = workload_class
        self.seed = seed
        self.tell = tell
        self.cuts = 0
        self.violations = []  # (name of the case, exception)

    def calls(self):
        """How many calls the workload makes when nothing goes wrong."""
        medium = self.medium_class(self.seed)
        workload = self.workload_class(self.seed)
        workload.live(medium)
        calls = medium.calls
        workload.settle()
        workload.check()
        medium.power_off()
        return calls

    def flavours(self):
        return [flavour for flavour in FLAVOURS if flavour in self.medium_class.flavours]

    def run(self, step=1, part=0, parts=1, seconds_step=1):
        """Sweep every `step`-th call (of those, every `parts`-th), and at each the second cut at every `seconds_step`-th call of the
        recovery, beginning somewhere that the seed and the call tell. Returns the number of calls of the workload."""
        calls = self.calls()
        for k in range(1 + part * step + self.seed % step, calls + 1, step * parts):
            for flavour in self.flavours():
                self._cut_at(k, flavour, seconds_step)
                if len(self.violations) >= VIOLATIONS_MAX:
                    return calls
            if self.tell is not None:
                self.tell(k, calls, self)
        return calls

    def _cut_at(self, k, flavour, seconds_step):
        medium, workload = self.first_cut(k, flavour)
        saved = medium.save()
        medium.load(saved, self._case_seed(k, flavour, 0))
        if not self._judge(k, flavour, 0, medium, workload.copy()):
            return
        second = 1 + (k + self.seed) % seconds_step
        while True:
            medium.load(saved, self._case_seed(k, flavour, second))
            twin = workload.copy()
            if not self._judge(k, flavour, second, medium, twin) or self.ended:
                return
            second += seconds_step

    def _judge(self, k, flavour, second, medium, workload):
        """One case: True if all promises are kept."""
        try:
            self.case(k, flavour, second, medium, workload)
        except Exception as error:
            self.violations.append(("%s:%d:%s:%d:%d" % (workload.name, k, flavour, second, self.seed), error))
            medium.power_off()
            return False
        return True

    def _case_seed(self, k, flavour, second):
        return (self.seed * 31 + k) * 7919 + FLAVOURS.index(flavour) * 1009 + second

    def first_cut(self, k, flavour):
        """The workload's first life, cut at its k-th call: (medium, workload)."""
        medium = self.medium_class(self.seed)
        workload = self.workload_class(self.seed)
        medium.arm(k, flavour)
        try:
            workload.live(medium)
        except medium.cuts:
            self._power_off(medium, workload)
            return medium, workload
        raise AssertionError("the workload has no call %d" % k)

    def _power_off(self, medium, workload):
        self.cuts += 1
        workload.cut()
        medium.power_off()

    def case(self, k, flavour, second, medium, workload):
        """After a first cut: recover, with another cut at call `second` (0: none), and go on. `ended`: the recovery has no such call."""
        self.ended = False
        if second:
            if second > RECOVERY_CALLS_MAX:
                raise Violation("the recovery does not end")
            medium.arm(second, self.flavours()[(k + second) % len(self.flavours())])
            try:
                workload.recover(medium)
            except medium.cuts:
                self._power_off(medium, workload)
            else:
                self.ended = True
                medium.power_off()
                return
        workload.recover(medium)
        workload.check()
        workload.go_on()
        workload.check()
        medium.arm(0, flavour)
        workload.cut()
        medium.power_off()
        workload.recover(medium)
        workload.check()
        medium.power_off()

    def replay(self, k, flavour, second):
        """One case alone; raises what it finds."""
        medium, workload = self.first_cut(k, flavour)
        medium.load(medium.save(), self._case_seed(k, flavour, second))
        self.case(k, flavour, second, medium, workload)


def media():
    """{name: class} of what can be cut here."""
    found = {"memory": MemoryMedium, "flash": FlashMedium}
    if sys.implementation.name == "micropython":
        from littlefs_disk import LittlefsMedium

        found["littlefs"] = LittlefsMedium
    return found


def main(argv):
    storage, workload, seed = argv[0], argv[1], int(argv[2])
    options = {argv[i]: argv[i + 1] for i in range(3, len(argv), 2)}
    sweep = Sweep(media()[storage], WORKLOADS[workload], seed)
    if "--replay" in options:
        k, flavour, second = options["--replay"].split(":")
        sweep.replay(int(k), flavour, int(second))
        print("kept")
        return 0
    part, parts = [int(n) for n in options.get("--part", "0/1").split("/")]
    sweep.tell = lambda k, calls, sweep: print("at", k, calls, sweep.cuts)
    calls = sweep.run(int(options.get("--step", 1)), part, parts, int(options.get("--seconds-step", 1)))
    for name, error in sweep.violations:
        print("violation %s %s: %s" % (name, type(error).__name__, error))
    print("swept", calls, sweep.cuts, len(sweep.violations))
    return 1 if sweep.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
