"""Makes a failing history smaller: fewer machines, faults and writes, as long as it still fails.

Rule: a smaller plan is only kept if it breaks a promise, too (any: the shortest story is worth most). Delta debugging, after Zeller and
Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002). Must not know: what the rows of a plan mean.
"""

import time

from history import run

SECONDS_MAX = 60.0


def shrink(plan, progress=None, seconds_max=SECONDS_MAX):
    """The smallest plan that was found in the time, and how it fails. Raises ValueError if `plan` does not fail."""
    what = run(plan)[1]
    if what is None:
        raise ValueError("seed %d does not fail" % plan.seed)
    search = _Search(plan, what, time.monotonic() + seconds_max, progress)
    while search.once():
        pass
    return search.plan, search.what


class _Search:
    def __init__(self, plan, what, deadline, progress):
        self.plan = plan
        self.what = what
        self._deadline = deadline
        self._progress = progress

    def once(self):
        """One round over all rows; True if it made the plan smaller and there is time for another."""
        before = self._size()
        for machine in range(len(self.plan.machines)):
            self._try_without_machine(machine)
        for part in ("faults", "writes"):
            self._rows(part)
        return self._size() < before and time.monotonic() < self._deadline

    def _size(self):
        return len(self.plan.faults) + len(self.plan.writes)

    def _try(self, plan):
        if time.monotonic() >= self._deadline:
            return False
        what = run(plan)[1]
        if what is None:
            return False
        self.plan, self.what = plan, what
        if self._progress is not None:
            self._progress("%d faults, %d writes" % (len(plan.faults), len(plan.writes)))
        return True

    def _try_without_machine(self, machine):
        """Nothing is written on that machine, and nothing befalls it: it only idles."""
        plan = self.plan.copy()
        plan.faults = [row for row in plan.faults if row[2] != machine]
        plan.writes = [row for row in plan.writes if row[1] != machine]
        if len(plan.faults) + len(plan.writes) < self._size():
            self._try(plan)

    def _rows(self, part):
        """Leave out ever smaller pieces of the plan's faults or writes."""
        size = max(1, len(getattr(self.plan, part)) // 2)
        while size:
            at = 0
            while at < len(getattr(self.plan, part)):
                plan = self.plan.copy()
                rows = getattr(plan, part)
                setattr(plan, part, rows[:at] + rows[at + size :])
                if not self._try(plan):
                    at += size
            size //= 2
