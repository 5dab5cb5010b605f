"""The hub's process: the real core Hub over the simulated store, driven as its shell must drive it.

Rule: one process at a time; while it is away, frames to it are lost. A new one announces itself to whoever is connected. Must
not know: which fault did it.
"""

import binascii

from clocks import SimClock, SimEntropy
from plan import stream
from store import SimStore
from streamline_core.codec import NONE, Codecs
from streamline_core.errors import QueueFull
from streamline_core.hub import Hub
from streamline_core.hub_config import HubConfig
from streamline_core.topic import TopicDefinition

STATUS_MS = 20  # how long the retained status takes to reach the nodes
MERGE_HASH = b"8 bytes."


def definition_of(row):
    """Of a topic in `Plan.shared`."""
    strategy = row.get("strategy", "last_write_wins")
    merge_hash = MERGE_HASH if strategy == "custom_merge" else b""
    return TopicDefinition(row.get("kind", "log"), row["direction"], row["partitions"], strategy, merge_hash)


def merge(key, one, two):
    """The merge module of all sides: the values in the order in which they come; it fails for one of the keys, as a user's code may."""
    if key == b"k0":
        raise ValueError("no")
    return two if one is None else one if two is None else one + b"&" + two


class Cloud:
    def __init__(self, fleet):
        self._fleet = fleet
        options = fleet.plan.hub
        self._frame_bytes_max = options["frame_bytes_max"]
        self._credit_bytes = options["credit_bytes"]
        self.store = SimStore(fleet, options["store_ms"])
        self._entropy = SimEntropy(stream(fleet.plan.seed, "hub"))
        self._shared = fleet.plan.shared
        self._defines = options.get("defines", False)
        self.name = "cloud"
        self.number = None
        self.hub = None
        self.online = False
        self.boot = ""
        self._wake_at_ms = -1

    def start(self):
        if self.hub is not None:
            return
        self._clock = SimClock(self._fleet, 0, 0)
        self.hub = Hub(HubConfig(credit_bytes=self._credit_bytes), self._clock, self._entropy, self.store, Codecs(NONE))
        self.hub.open()
        self.hub._me.frame_bytes_max = self._frame_bytes_max  # a hub with small buffers: no option of a real one makes it so
        for topic in sorted(self._shared) if self._defines else ():
            self.hub.define(topic, definition_of(self._shared[topic]))
        self.online = True
        self.boot = "".join(["%02x" % b for b in self.hub.boot])
        self._fleet.note("the hub starts")
        self._announce()

    def kill(self, ms):
        """The process is gone; its successor comes after `ms`."""
        if self.hub is not None:
            self._fleet.note("the hub is killed")
            self.hub = None
            self._wake_at_ms = -1
            self.store.crash(self._fleet.random)
            if self._fleet.random.below(2):
                self.online = False  # the broker has seen its will
                self._announce()
            self._fleet.at(self._fleet.now_ms + ms, self.start)

    def roll_back(self, backup):
        """The store is restored from a backup; the process starts anew."""
        self._fleet.note("the hub's store is rolled back")
        self.kill(300)
        self.store.restore(backup)

    def write(self, kind, topic, count, size):
        """What runs beside the hub writes to a topic that flows down."""
        if self.hub is None or self.hub.streams.definition(topic) is None:
            return
        if kind in ("put", "delete"):
            self._change(topic, b"k%d" % count, kind == "delete", size)
        else:
            for _ in range(count):
                content, value = self._fleet.model.fresh(self, topic, size)
                self._produce(topic, content, value, content.encode() if kind == "full" else None, ())
        self.turn()

    def _change(self, topic, key, deleted, size):
        keyed = self._fleet.model.keyed
        partition = binascii.crc32(key) % self._shared[topic]["partitions"]
        shown = keyed.shown_by_hub(topic, partition, key)
        content, value = keyed.fresh(self, topic, key, deleted, size, shown, [])
        self._produce(topic, content, value, key, (("w", content.encode()),) if deleted else ())

    def _produce(self, topic, content, value, key, headers):
        model = self._fleet.model
        model.tried(content)
        try:
            written = self.hub.produce(topic, value, key, headers)
        except QueueFull:
            model.refused(content)
            return

        def done(error):
            if error is None:
                if content not in self.store.ever:
                    self._fleet.violation("%s was said to be committed, and is not" % content)
                model.told(written.stream.key(), written.offset, content)
                model.acknowledged(content)

        written.done = done

    def _announce(self):
        for machine in self._fleet.machines:
            self._fleet.at(self._fleet.now_ms + STATUS_MS, machine.hub_status, self.online, self.boot)

    def receive(self, name, frame):
        if self.hub is not None:
            self.hub.receive(name, frame)
            self.turn()

    def committed(self, ticket, error):
        if self.hub is not None:
            self.hub.committed(ticket, error)
            self.turn()

    def turn(self):
        hub, fleet = self.hub, self._fleet
        deadline_ms = hub.tick()
        while True:
            row = hub.next_frame()
            if row is None:
                break
            for machine in fleet.machines:
                if machine.name == row[0] and machine.carrier.connected:
                    machine.carrier.down.send(row[1])
        if deadline_ms >= 0:
            wake_ms = max(fleet.now_ms + 1, self._clock.true_ms(deadline_ms))
            if wake_ms != self._wake_at_ms:
                self._wake_at_ms = wake_ms
                fleet.at(wake_ms, self._woken, wake_ms)

    def _woken(self, at_ms):
        if at_ms == self._wake_at_ms and self.hub is not None:
            self._wake_at_ms = -1
            self.turn()
