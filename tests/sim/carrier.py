"""The way between one machine and the hub, through a broker: frames may be lost, repeated, late, out of order, or stuck in one
direction.

Rule: what is not forbidden by the protocol's assumption (whole frames) may happen here. One machine of a name is connected at a
time, as a broker has it: a second one throws out the first. Must not know: what is in a frame.
"""

HISTORY_MAX = 40  # frames that may arrive once more
QUEUE_MAX = 64  # frames a broker holds for one side; beyond it they are dropped


class Channel:
    """One direction. loss, repeat: chances out of 100; delay_ms: the bound of a frame's way; rate: bytes/s, 0 for no bound."""

    def __init__(self, fleet, random, arrive):
        self._fleet = fleet
        self._random = random
        self._arrive = arrive
        self.history = []
        self.life = 0  # frames of another one do not arrive
        self.in_flight = 0
        self.free_at_ms = 0
        self.clean()

    def clean(self):
        self.loss = self.repeat = 0
        self.delay_ms = 4
        self.rate = 0
        self.stuck = False

    @property
    def ready(self):
        """Whether the carrier would take another frame."""
        return self._fleet.now_ms >= self.free_at_ms

    def send(self, frame):
        frame = bytes(frame)
        now_ms = self._fleet.now_ms
        if self.rate:
            self.free_at_ms = max(now_ms, self.free_at_ms) + 1 + len(frame) * 1000 // self.rate
        self.history.append(frame)
        if len(self.history) > HISTORY_MAX:
            self.history.pop(0)
        if self.stuck or self.in_flight >= QUEUE_MAX or (self.loss and self._random.below(100) < self.loss):
            return
        for _ in range(2 if self.repeat and self._random.below(100) < self.repeat else 1):
            self.in_flight += 1
            at_ms = max(now_ms, self.free_at_ms) + 1 + self._random.below(self.delay_ms)
            self._fleet.at(at_ms, self._delivered, frame, self.life)

    def _delivered(self, frame, life):
        if life == self.life:
            self.in_flight -= 1
            self._arrive(frame)

    def forget(self):
        """All that is under way is gone."""
        self.life += 1
        self.in_flight = 0

    def again(self, count, within_ms=200):
        """Old frames arrive once more."""
        for _ in range(min(count, len(self.history))):
            self._again(self.history[self._random.below(len(self.history))], within_ms)

    def all_again(self):
        for frame in list(self.history):
            self._again(frame, 200)

    def _again(self, frame, within_ms):
        self.in_flight += 1
        self._fleet.at(self._fleet.now_ms + 1 + self._random.below(within_ms), self._delivered, frame, self.life)


class Carrier:
    """machine: whose it is. `connected`: the broker and the machine both think so."""

    def __init__(self, fleet, machine, random):
        self._fleet = fleet
        self._machine = machine
        self.connected = False
        self.broken_until_ms = 0  # no connection before this
        self.up = Channel(fleet, random, self._to_hub)
        self.down = Channel(fleet, random, self._to_node)

    def _to_hub(self, frame):
        self._fleet.saw("up", self._machine.name, frame)
        self._fleet.cloud.receive(self._machine.name, frame)

    def _to_node(self, frame):
        if self.connected:
            self._fleet.saw("down", self._machine.name, frame)
            self._machine.receive(frame)

    def clean(self):
        self.up.clean()
        self.down.clean()
        self.broken_until_ms = 0

    def connect(self):
        """The machine has reached the broker. A namesake is thrown out."""
        if self.connected or self._fleet.now_ms < self.broken_until_ms:
            return
        for other in self._fleet.machines:
            if other is not self._machine and other.name == self._machine.name and other.carrier.connected:
                other.carrier.disconnect("another client with this id", 2000)
        self.connected = True
        self.up.free_at_ms = self.down.free_at_ms = 0
        if self._fleet.random.below(3) == 0:
            self.down.again(4, 10)  # while it greets
        self._machine.link_up()

    def disconnect(self, why, retry_ms):
        """The connection breaks; the machine tries again after `retry_ms`. What is under way may still arrive, or not."""
        if self.connected:
            self.connected = False
            if self._fleet.random.below(2):
                self.up.forget()
            self.down.forget()
            self._machine.link_down(why)
        self.broken_until_ms = max(self.broken_until_ms, self._fleet.now_ms + retry_ms)
        self._fleet.at(self.broken_until_ms, self._machine.try_link)
