"""The whole fleet in virtual time: one seed is one history, byte for byte, on both interpreters.

Rule: nothing happens but by an event of its heap, in the order of (time, number); all chance comes from streams of the plan's
seed. It runs the plan, then ends every fault and lets the fleet come to rest, then has it checked. Must not know: what a fault
does, what is right.
"""

import binascii
import heapq

import checks
import faults
from cloud import Cloud
from machine import Machine
from model import Model
from plan import HUB, stream

REREAD_MS = 1000  # after the end of all faults, what has rotted and was not read yet is read
DRAIN_MS_MAX = 180000  # of working links, after which everything must have arrived
SETTLE_MS = 20000  # for what was under way when the last thing arrived, and for what must be asked once more
REST_MS = 40000  # more than any timer of the protocol
LOOK_MS = 500
DRAIN_FRAMES_MAX = 300
DRAIN_FRAMES_A_BATCH_MAX = 8  # each frame is up to 4 ms late, so most overtake others; 5 were the most in 600 seeds where many waited
EVENTS_MAX = 400000
NOTES_MAX = 4000


class Violation(Exception):
    """A promise was broken."""


class Fleet:
    """plan: what shall happen. `notes`: the readable trace, the last NOTES_MAX lines of it, if asked for."""

    def __init__(self, plan, trace=False):
        self.plan = plan
        self.now_ms = 0
        self.random = stream(plan.seed, "fleet")
        self.notes = [] if trace else None
        self.digest = 0  # CRC-32 of all that was carried and noted
        self.events = 0
        self.frames = 0
        self.drain_frames = 0  # carried from the end of all faults until everything had arrived
        self.backup = None
        self.images = {}
        self._heap = []
        self._number = 0
        self._ends = []
        self.model = Model(self)
        self.machines = []
        self.cloud = Cloud(self)
        for i in range(len(plan.machines)):
            self.machines.append(Machine(self, i, i))

    def time(self):
        return self.now_ms

    def at(self, ms, do, *args):
        """Call `do(*args)` at that time."""
        self._number += 1
        heapq.heappush(self._heap, (ms, self._number, do, args))

    def until(self, ms, end):
        """A fault ends after `ms`, or when all faults do."""
        self._ends.append(end)
        self.at(self.now_ms + ms, self._over, end)

    def _over(self, end):
        if end in self._ends:
            self._ends.remove(end)
            end()

    def machine_of(self, index, number):
        """The machine of that place in the plan; where a clone runs beside it, one of the two."""
        found = [machine for machine in self.machines if machine.index == index and not machine.retired]
        return found[number % len(found)]

    def note(self, text):
        self.digest = binascii.crc32(text.encode(), self.digest)
        if self.notes is not None:
            self._remember(text)

    def _remember(self, text):
        self.notes.append("%7d ms  %s" % (self.now_ms, text))
        if len(self.notes) > NOTES_MAX:
            self.notes.pop(0)

    def saw(self, way, name, frame):
        """A frame arrives."""
        self.frames += 1
        self.digest = binascii.crc32(frame, self.digest)
        if self.notes is not None:
            self._remember("%s %s: %s" % (way, name, checks.describe(frame)))

    def violation(self, text):
        raise Violation("%d ms: %s" % (self.now_ms, text))

    # The run

    def run(self):
        """The whole history. Raises Violation, or whatever the core should not have raised."""
        plan = self.plan
        self.at(0, self.cloud.start)
        for machine in self.machines:
            self.at(machine.index, machine.start)
        for at_ms, index, kind, topic, count, size in plan.writes:
            self.at(at_ms, self._write, index, kind, topic, count, size)
        for at_ms, kind, index, duration_ms, number in plan.faults:
            self.at(at_ms, self._fault, kind, index, duration_ms, number)
        self._run_until(plan.duration_ms)
        self._heal()
        deadline_ms = self.now_ms + DRAIN_MS_MAX
        frames, batches = self.frames, checks.batches_owed(self)
        while not checks.drained(self):
            if self.now_ms >= deadline_ms:
                self.violation("not at rest after %d s of working links: %s" % (DRAIN_MS_MAX // 1000, checks.why_not_drained(self)))
            self._run_until(self.now_ms + LOOK_MS)
        self.drain_frames = self.frames - frames
        if self.drain_frames > DRAIN_FRAMES_MAX + DRAIN_FRAMES_A_BATCH_MAX * batches:
            self.violation("%d frames until %d batches had arrived: a storm" % (self.drain_frames, batches))
        checks.all_is_told(self)
        self._run_until(self.now_ms + SETTLE_MS)
        frames = self.frames
        self._run_until(self.now_ms + REST_MS)
        if self.frames != frames:
            self.violation("%d frames at rest" % (self.frames - frames))
        checks.everything(self)
        self._old_frames_change_nothing()

    def _old_frames_change_nothing(self):
        """All that the carriers remember arrives once more; who talks with whom stays, and so does all else."""
        sessions = checks.sessions(self)
        for machine in self.machines:
            if not machine.retired:
                machine.carrier.up.all_again()
                machine.carrier.down.all_again()
        self._run_until(self.now_ms + SETTLE_MS)
        if checks.sessions(self) != sessions:
            self.violation("frames that came again have changed a session")
        checks.everything(self)

    def _run_until(self, end_ms):
        heap = self._heap
        while heap and heap[0][0] <= end_ms:
            at_ms, _, do, args = heapq.heappop(heap)
            self.now_ms = max(self.now_ms, at_ms)
            self.events += 1
            if self.events > EVENTS_MAX:
                self.violation("%d events: it never comes to rest" % self.events)
            do(*args)
        self.now_ms = max(self.now_ms, end_ms)

    def _reread(self, machine):
        if machine.node is not None:
            machine.app.read_all()
            machine.turn()

    def _write(self, index, kind, topic, count, size):
        writer = self.cloud if index == HUB else self.machine_of(index, count)
        writer.write(kind, topic, count, size)
        checks.limits(self)

    def _fault(self, kind, index, duration_ms, number):
        self.note("fault: %s, machine %d, %d ms, %d" % (kind, index, duration_ms, number))
        faults.do(self, kind, index, duration_ms, number)
        checks.at_any_moment(self)

    def _heal(self):
        """Every fault ends, everybody is up, both directions of every link work."""
        self.note("all faults end")
        while self._ends:
            self._ends.pop(0)()
        for machine in self.machines:
            machine.carrier.clean()
            machine.disk.cut_at = 0
            if not machine.retired:
                machine.start()
                machine.try_link()
                machine.turn()
                if self.model.did("rot", machine.name):
                    self.at(self.now_ms + REREAD_MS, self._reread, machine)
        self.cloud.start()
