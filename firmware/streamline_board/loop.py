"""The loop of a board: readings in, ticks, tickets, frames; then it waits for whatever comes first.

Rule: nothing in it waits for a network; between two turns it sleeps in one poll. Must not know: sockets, files.
"""

import gc
import os
import select
import sys
import time

import ujson

from streamline_core.codec import device_codecs
from streamline_core.errors import NO_ROOM, NOT_TAKEN
from streamline_core.node import Node

from . import heap
from .main import let_go
from .ports import BoardClock, BoardEntropy, BoardMeter
from .storage import FileStorage

WAIT_MS_MAX = 1000
LINES_PER_TURN = 200
FULL_WAIT_MS = 5
CONDITION_MS = 5000
MEMORY_WAIT_MS = 100  # until what there was no memory for is tried again
COLLECT_EVERY = 64  # turns: a small heap stays in one piece


def _holds(condition):
    """Whether `file:PATH` or `no file:PATH` holds."""
    kind, path = condition.split(":", 1)
    try:
        with open(path) as file:
            there = file.read(64).strip().lower() not in ("0", "no", "off", "false")
    except OSError:
        there = False
    return there == (kind == "file")


def _limits(config):
    """Put limits that an operator has set over those of the configuration. Returns these where there are such, else None. Raises
    UsageError."""
    try:
        os.stat(config.data_dir + "/limits.json")
    except OSError:
        return None
    from .limits_file import lay_over

    try:
        return lay_over(config)
    finally:
        for name in ("streamline_board.limits_file", "streamline_core.operator_limits", "streamline_core.resources"):
            let_go(name)


def link_class(config):
    """What carries the node's frames. A board pays for the link it has, and for no other. Raises UsageError where this image has none."""
    try:
        if config.cloud_endpoint.startswith("serial"):
            from .serial_link import SerialLink as Link
        else:
            from .link import BoardLink as Link
        return Link
    except ImportError:
        from .features import no_link

        raise no_link(config.cloud_endpoint)


def _built_in(config):
    """What the configuration asks for is in this image, or a UsageError is raised."""
    from .features import check

    check(config)
    if config.cloud_endpoint is not None:
        link_class(config)
    let_go("streamline_board.features")


class Loop:
    """config: an EdgeConfig; source: what gives readings, or None; lines: a topic that gets the lines of standard input, or None; storage:
    in place of files in the data directory; network: a class of what has to be joined before a link can work, or None; watchdog: what
    is fed by each turn that did its work, or None."""

    def __init__(self, config, source=None, lines=None, status=False, storage=None, network=None, watchdog=None):
        self.clock = BoardClock()
        self.entropy = BoardEntropy()
        self.meter = BoardMeter()
        _built_in(config)
        merges = None
        if any([topic.merge for topic in config.topics.values()]):
            from .merges import load_merges  # where no topic merges, no board pays for it

            merges = load_merges(config)
        self.storage = storage or FileStorage(config.data_dir)
        configured = _limits(config)
        self.node = Node(config, self.clock, self.storage, self.entropy, device_codecs(), merges, self.meter)
        self.node.open()
        self.refused = 0
        self._poll = select.poll()
        self._source = source
        self._lines = lines
        self._status = status
        self._status_at_ms = 0
        self._condition = config.sync.condition
        self._condition_at_ms = 0
        self._turns = 0
        self._watchdog = watchdog
        self._done = []  # tickets to tell the node of
        self._draining = False
        self._ended = False
        self._line = b""
        self._input = sys.stdin.buffer
        if lines is not None or status:
            self._poll.register(sys.stdin, 1)
        self._network = network(self.clock, self.entropy) if network is not None else None
        self._link = None
        if config.cloud_endpoint is not None:
            self._link = link_class(config)(config, self.node, self.clock, self.entropy, self._poll)
            self._link.source = source
        self._door = self._make_door(configured)

    def _make_door(self, configured):
        """What answers on this machine; None where there is no such thing."""
        try:
            from .control_socket import listen
        except ImportError:
            return None  # not in this image
        door, listener = None, listen(self.node.config.data_dir)
        if listener is not None:
            from .door import Door

            door = Door(listener, self.node, self._link, self._poll, configured)
        for name in ("streamline_board.control_socket", "streamline_core.control_wire"):
            let_go(name)
        return door

    def _tickets(self):
        if not self._done:
            self._done = self.storage.completed()
        while self._done:  # one that there was no memory for is told again
            row = self._done[0]
            self.node.synced(row[0], row[1])
            self._done.pop(0)

    def turn(self):
        """One turn; returns how long it may wait now, in ms. What there was no memory for is tried again soon."""
        try:
            wait_ms = self._turn()
            if self._watchdog is not None:
                self._watchdog.feed()
            return wait_ms
        except MemoryError:
            self._out_of_memory()
            return MEMORY_WAIT_MS

    def _out_of_memory(self):
        self.node.memory_errors += 1
        gc.collect()

    def _turn(self):
        node, clock = self.node, self.clock
        now_ms = clock.monotonic_ms()
        deadlines = [now_ms + WAIT_MS_MAX]
        if self._source is not None and not self._draining:
            try:
                deadlines.append(self._source.produce(node, now_ms))
            except NO_ROOM:
                self.refused += 1
            except MemoryError:
                self.refused += 1
                self._out_of_memory()
        if self._condition is not None and now_ms >= self._condition_at_ms:
            self._condition_at_ms = now_ms + CONDITION_MS
            node.gate.condition(_holds(self._condition))
        for _ in range(2):  # a commit that was asked for is done at once here: take it up
            deadline_ms = node.tick()
            self._tickets()
        deadlines.append(deadline_ms)
        if self._network is not None:
            deadlines.append(self._network.turn(now_ms))
        if self._link is not None:
            self._link.turn()
            deadlines.append(self._link.deadline_ms())
            deadlines.append(node.tick())
        if self._door is not None:
            deadlines.append(self._door.turn(clock.monotonic_ms()))
            if self._door.control is not None:
                deadlines.append(node.tick())
        if self.storage.waiting:
            deadlines.append(now_ms)
        self._turns += 1
        if self._turns % COLLECT_EVERY == 0:
            heap.collect()
        if self._status and now_ms >= self._status_at_ms:
            self._status_at_ms = now_ms + 1000
            self.report()
        done_ms = clock.monotonic_ms()
        self.meter.busy_ms += done_ms - now_ms
        return max(0, min([at_ms for at_ms in deadlines if at_ms >= 0]) - done_ms)

    def report(self):
        """One line of JSON about everything."""
        status = self.node.status()
        status["interpreter"] = "MicroPython %d.%d" % sys.implementation[1][:2]
        status.update(heap.figures())
        status["refused"] = self.refused
        if self._link is not None:
            status.update(self._link.counters())
        print(ujson.dumps(status))

    def _read_input(self):
        """Lines for a topic, or (without one) orders: `drain` stops the readings. The end of the input ends the program."""
        for _ in range(LINES_PER_TURN):
            line = self._input.readline()
            if not line:
                self._poll.unregister(sys.stdin)
                self._ended = True
                return
            line = line[:-1] if line[-1] == 10 else line
            if self._lines is not None:
                self._store(line)
            elif line == b"drain":
                self._draining = True
            if not self.wait():
                return

    def wait(self, wait_ms=0):
        """Wait until something comes, at most so long. Returns whether it was input."""
        ready = False
        for row in self._poll.ipoll(wait_ms):
            if row[0] is sys.stdin:
                ready = True
            elif self._door is not None:
                self._door.note(row[0], row[1])
        return ready

    def _store(self, line):
        while True:
            try:
                self.node.produce(self._lines, line)
                return
            except NOT_TAKEN:
                self.node.tick()
                self._tickets()
                if self._link is not None:
                    self._link.turn()
                if self._door is not None:
                    self.wait()
                    self._door.turn(self.clock.monotonic_ms())
                time.sleep_ms(FULL_WAIT_MS)

    def run(self, until_drained=False):
        """Turn until the input ends (and, if asked, until everything is at the cloud); Ctrl-C ends it too."""
        try:
            while True:
                wait_ms = self.turn()
                if self._ended and (not until_drained or self._drained()):
                    break
                try:
                    if self.wait(min(wait_ms, 50) if self._ended else wait_ms):
                        self._read_input()
                except MemoryError:
                    self._out_of_memory()
        except KeyboardInterrupt:
            pass
        self.close()

    def _drained(self):
        rows = [log for log in self.node.logs() if not log.local]
        return all([log.next == log.durable and log.state.acked >= log.durable for log in rows])

    def close(self):
        """Everything accepted becomes durable; the broker hears a goodbye. What there is no memory for is left out, that alone."""
        for step in (self._commit_all, self._close_door, self._close_link, self.report if self._status else None):
            try:
                if step is not None:
                    step()
            except MemoryError:
                self._out_of_memory()

    def _commit_all(self):
        self.node.close()
        for _ in range(100):
            self._tickets()
            if self.node.idle:
                break

    def _close_door(self):
        if self._door is not None:
            self._door.close(self.clock.monotonic_ms())

    def _close_link(self):
        if self._link is not None:
            self._link.close()
