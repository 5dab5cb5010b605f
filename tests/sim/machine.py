"""One edge machine: the real core Node between a faulty disk, a lying clock and a bad link, driven as a shell must drive it.

Rule: only the ports and the public methods of Node are used, in the order that docs/ARCHITECTURE.md gives: input, tick, frames
while the carrier has room, come back at the deadline. Power may go in the middle of a storage call. Must not know: which fault
did it, or what is checked.
"""

from application import Application
from carrier import Carrier
from clocks import SimClock, SimEntropy
from cloud import MERGE_HASH, merge
from disk import PowerCut, SimDisk
from plan import stream
from streamline_core.codec import NONE, Codecs
from streamline_core.config import EdgeConfig
from streamline_core.frames import DATA
from streamline_core.node import Node

REOPEN_MS = 1000  # after a start that failed
LINK_RETRY_MS = 300
COMPLETIONS_MAX = 50  # syncs that ask for syncs, in one turn


class Machine:
    """index: in the plan; number: of the machine in the fleet (a clone has its own)."""

    def __init__(self, fleet, index, number, image=None):
        self.fleet = fleet
        self.index = index
        self.number = number
        self.given = fleet.plan.machines[index]
        self.name = self.given["node_id"]
        self.config = EdgeConfig.from_dict(self.given)
        seed = fleet.plan.seed
        self.disk = SimDisk(stream(seed, "disk %d" % number), fleet.time)
        self.disk.latency_ms = self.disk_ms = fleet.plan.disks[index]
        self.disk.late_errors = stream(seed, "errors %d" % number).below(2) == 1
        self.disk.on_remove = self._removed
        if image is not None:
            self.disk.restore(image)
        self.clock = None
        self.offset_ms, self._drift = fleet.plan.clocks[index]
        self._entropy = SimEntropy(stream(seed, "entropy %d" % number))
        topics = self.config.topics
        self._merges = {name: (merge, MERGE_HASH) for name in topics if topics[name].strategy == "custom_merge"}
        self.carrier = Carrier(fleet, self, stream(seed, "carrier %d" % number))
        self.app = Application(self)
        self.node = None
        self.boots = 0
        self._parked = True
        self._paused = False
        self.retired = False
        self._start_at_ms = -1
        self._wake_at_ms = -1

    def _removed(self, name, content):
        self.fleet.model.removed(self, name, content)

    # Life

    def start(self):
        """Power on, or the process starts. Where the disk cannot be read, it tries again."""
        if self.node is not None or self.retired or self.fleet.now_ms < self._start_at_ms:
            return
        self.boots += 1
        self._paced = []  # (ms, bytes) of each DATA frame of the last second
        self.clock = SimClock(self.fleet, self.offset_ms, self._drift)
        node = Node(self.config, self.clock, self.disk, self._entropy, Codecs(NONE), self._merges)
        try:
            node.open()
        except OSError:
            self.start_after(REOPEN_MS)
            return
        except PowerCut:
            self.lose_power(200)
            return
        self.node = node
        self.fleet.note("%s starts (%d)" % (self.label, self.boots))
        if node.link.paused != self._paused:  # a cut came before it was noted
            self.steer(self._paused)
        if node.gate is not None:
            node.gate.condition(self._parked)
        self.try_link()
        self.turn()

    def park(self, parked):
        """The condition under which it may sync holds, or does not."""
        self._parked = parked
        if self.node is not None and self.node.gate is not None:
            self.node.gate.condition(parked)
            self.turn()

    def steer(self, paused):
        """Somebody pauses sync, or resumes it."""
        self._paused = paused
        if self.node is None:
            return
        try:
            self.node.pause() if paused else self.node.resume()
        except PowerCut:
            self.lose_power(200)
            return
        self.turn()

    @property
    def label(self):
        return "%s/%d" % (self.name, self.number)

    def start_after(self, ms):
        self._start_at_ms = self.fleet.now_ms + ms
        self.fleet.at(self._start_at_ms, self.start)

    def _end(self, ms):
        self.node = None
        self._wake_at_ms = -1
        self.app.machine_ended()
        self.carrier.disconnect("gone", 0)
        self.start_after(ms)

    def lose_power(self, ms):
        """Off now, on after `ms`."""
        self.fleet.note("%s loses its power" % self.label)
        self.disk.power_cut()
        self.fleet.model.power_went(self)
        self._end(ms)

    def lose_power_within(self, calls, ms):
        """The power goes during one of the next storage calls."""
        if self.node is not None:
            self.disk.cut_at = self.disk.calls + calls

    def kill(self, ms):
        self.fleet.note("%s is killed" % self.label)
        self.disk.kill()
        self.fleet.model.power_went(self)
        self._end(ms)

    def stop(self, ms):
        """An orderly end: close, wait for the disk, go."""
        if self.node is None:
            return
        try:
            self.node.link.down("stopped")
            self.node.close()
            for _ in range(COMPLETIONS_MAX):
                if self.node.idle or self.disk.unreadable:
                    break
                self.node.tick()
                self.fleet.now_ms = max(self.fleet.now_ms, self.disk.due_ms)
                self._complete()
            self.app.settle()
            self.app.settle()  # what a fork has moved is looked for at its new place
        except PowerCut:
            self.lose_power(ms)
            return
        well = self.disk.capacity is None and not self.disk.unreadable
        if well and self.app.waiting and all([log.failure is None for log in self.node.logs()]):
            self.fleet.violation("%s has stopped in order, and somebody still waits for the disk" % self.label)
        self.fleet.note("%s stops" % self.label)
        if not self.node.idle:  # the disk did not let it: it ends as one that is killed
            self.fleet.model.power_went(self)
        self.disk.kill()
        self._end(ms)

    def retire(self):
        """Gone for good, with its disk."""
        self.fleet.note("%s is gone for good" % self.label)
        self._end(0)
        self.retired = True

    # Input

    def try_link(self):
        if self.node is not None and not self.carrier.connected:
            if self.fleet.now_ms >= self.carrier.broken_until_ms:
                self.carrier.connect()
            else:
                self.fleet.at(self.carrier.broken_until_ms, self.try_link)

    def link_up(self):
        self.node.link.up()
        cloud = self.fleet.cloud
        self.node.link.hub_status(cloud.online, cloud.boot)
        self.turn()

    def link_down(self, why):
        if self.node is not None:
            self.node.link.down(why)
            self.turn()

    def hub_status(self, online, boot):
        if self.node is not None and self.carrier.connected:
            self.node.link.hub_status(online, boot)
            self.turn()

    def receive(self, frame):
        if self.node is not None:
            self._guarded(self._receive, frame)

    def _receive(self, frame):
        self.node.link.receive(frame)
        self._turn()

    def write(self, kind, topic, count, size):
        """The application writes."""
        if self.node is not None:
            self._guarded(self._write, kind, topic, count, size)

    def _write(self, kind, topic, count, size):
        self.app.write(kind, topic, count, size)
        self._turn()

    def turn(self):
        """What is due is done; asks to be called again at the node's deadline."""
        if self.node is not None:
            self._guarded(self._turn)

    def _guarded(self, do, *args):
        try:
            do(*args)
        except PowerCut:
            self.lose_power(100 + self.fleet.random.below(2000))

    def _turn(self):
        node, fleet = self.node, self.fleet
        self._complete()
        deadline_ms = node.tick()
        if self.disk.due_ms == fleet.now_ms:
            self._complete()
            deadline_ms = node.tick()
        if self._pump():
            deadline_ms = node.tick()
        self.app.settle()
        wake_ms = self.clock.true_ms(deadline_ms) if deadline_ms >= 0 else -1
        for at_ms in (self.disk.due_ms, self.carrier.up.free_at_ms if self.carrier.up.free_at_ms > fleet.now_ms else -1):
            if at_ms >= 0 and (wake_ms < 0 or at_ms < wake_ms):
                wake_ms = at_ms
        if wake_ms >= 0:
            wake_ms = max(wake_ms, fleet.now_ms + 1)
            if wake_ms != self._wake_at_ms:
                self._wake_at_ms = wake_ms
                fleet.at(wake_ms, self._woken, wake_ms)

    def _woken(self, at_ms):
        if at_ms == self._wake_at_ms:
            self._wake_at_ms = -1
            self.turn()

    def _complete(self):
        for _ in range(COMPLETIONS_MAX):
            tickets = self.disk.completed()
            if not tickets:
                return
            for ticket, error in tickets:
                self.node.synced(ticket, error)

    def _pump(self):
        """Hand frames to the carrier while it has room."""
        sent = False
        while self.carrier.connected and self.carrier.up.ready:
            frame = self.node.link.next_frame()
            if frame is None:
                break
            if frame[0] == DATA:
                self._check_pace(frame)
                self._check_limit(frame)
            self.carrier.up.send(frame)
            sent = True
        return sent

    def _check_pace(self, frame):
        """In any second no more DATA leaves than the limit allows, with what is saved up and a frame of debt."""
        limit = self.config.sync.bandwidth_limit
        now_ms = self.fleet.now_ms
        self._paced = [row for row in self._paced if now_ms - row[0] < 1000] + [(now_ms, len(frame))]
        sent = sum([row[1] for row in self._paced])
        if limit and sent > limit + limit // 4 + 2 * self.config.frame_bytes_max:
            self.fleet.violation("%s sends %d bytes in a second, %d are allowed" % (self.label, sent, limit))

    def _check_limit(self, frame):
        """What this stream has under way is what its receiver allows, and a batch more at the most."""
        sender = self.node.link.session.outlet.senders[frame[9] | frame[10] << 8]
        if sender.sent > sender.log.durable:
            self.fleet.violation("%s has sent up to %d, durable is %d" % (self.label, sender.sent, sender.log.durable))
        if sender._under_way_bytes > sender._limit + self.config.log.batch_bytes:
            self.fleet.violation("%s has %d bytes under way, %d are allowed" % (self.label, sender._under_way_bytes, sender._limit))
