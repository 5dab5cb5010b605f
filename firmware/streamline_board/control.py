"""A board's control socket while somebody asks: who comes, and who is served.

Rule: nothing in it waits. What an answer needs is loaded when it is asked for, and given back when nobody asks any more, and so is this
module: sync needs the heap more. Who is one too many is told so. Must not know: what can be asked.
"""

import sys

LENT = [  # what serving loads, where nothing else has: it is given back
    name
    for name in (
        "streamline_board.configuration", "streamline_board.control_keyed", "streamline_board.control_limits",
        "streamline_board.control_ops", "streamline_board.control_records", "streamline_board.control_waits",
        "streamline_board.limits_file", "streamline_board.status", "streamline_core.answer", "streamline_core.compaction",
        "streamline_core.config_check", "streamline_core.config_tables", "streamline_core.config_values", "streamline_core.consumer",
        "streamline_core.control_records", "streamline_core.explain", "streamline_core.health", "streamline_core.log_reader",
        "streamline_core.operator_limits",
        "streamline_core.plan", "streamline_core.record", "streamline_core.resources", "streamline_core.sync_queue",
    )
    if name not in sys.modules
]  # fmt: skip
SERVES = ("streamline_board.control_connection", "streamline_board.control_request", "streamline_core.control_wire", __name__)

from .control_connection import Connection
from .control_request import Bodies
from .door import is_low
from .main import let_go

CONNECTIONS_MAX = 8
GREETED_PER_TURN = 4
BODY_BYTES = 8192  # of one request, where a batch is not larger
STAYS_MS = 3000  # after the last question: who asks often asks again
STALLED_MS = 5000  # who has not read his answer for so long makes room for another
_POLLIN = 1


class Control:
    """door: whose. configured, link, node: the door's. bodies: how much of requests there is. asked_ms: when the last question came, while
    what it needed is here."""

    def __init__(self, door):
        self.door = door
        self.node = door.node
        self.link = door.link
        self.bodies = Bodies(max(BODY_BYTES, door.node.config.log.batch_bytes))
        self.connections = []
        self.asked_ms = None

    def note(self, source, events):
        for connection in self.connections:
            if connection.socket is source:
                connection.events |= events
                return

    def turn(self, now_ms):
        """As Door.turn."""
        if self.door.knocking:
            self._greet(now_ms)
        due_ms = -1
        for connection in self.connections[:]:
            at_ms = connection.turn(now_ms)
            if connection.gone:
                self._drop(connection)
            elif connection.wanted != connection.polled:
                self.door.poll.modify(connection.socket, connection.wanted)
                connection.polled = connection.wanted
            if at_ms >= 0 and (due_ms < 0 or at_ms < due_ms):
                due_ms = at_ms
        if self.asked_ms is not None and not any([connection.busy for connection in self.connections]):
            stays_ms = self.asked_ms + STAYS_MS
            if now_ms >= stays_ms:
                self.give_back()
            elif due_ms < 0 or stays_ms < due_ms:
                due_ms = stays_ms
        elif not self.connections:
            self.give_back()
        return due_ms

    def _greet(self, now_ms):
        self.door.knocking = False
        for _ in range(GREETED_PER_TURN):
            try:
                sock, _ = self.door.listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            why = self._refusal(now_ms)
            self.connections.append(Connection(self, sock, now_ms))
            self.door.poll.register(sock, _POLLIN)
            if why is not None:
                self.connections[-1].refuse(why)
            else:
                self.asked_ms = now_ms

    def _refusal(self, now_ms):
        """Why nobody more is served now; None where somebody is."""
        most, used = self.node.config.resources.max_connections, self.door.connected()
        if most is not None and used + 1 > most:
            return "resources.max_connections: %d of %d are used, and 1 more were wanted" % (used, most)
        if len(self.connections) >= CONNECTIONS_MAX:
            for connection in self.connections:
                if connection.stalled and now_ms - connection.moved_ms > STALLED_MS:
                    self._drop(connection)
                    return None
            return "%d connections are open" % CONNECTIONS_MAX
        return None

    def _drop(self, connection):
        self.door.poll.unregister(connection.socket)
        connection.close()
        self.connections.remove(connection)

    def relieve(self):
        """Memory is short: give back what no answer needs that has begun; if that is not enough, say so to whoever is here."""
        self.give_back()
        if self.connections and is_low():
            for connection in self.connections[:]:
                connection.give_up()
                self._drop(connection)
            self.give_back()

    def give_back(self):
        """Let go of what serving has loaded, and of all if nobody is here."""
        from streamline_core.answer import give_back

        give_back(self.node)
        for name in LENT:
            let_go(name)
        self.asked_ms = None
        if not self.connections:
            self.door.control = None
            for name in SERVES:
                let_go(name)

    def close(self, now_ms):
        """As Door.close."""
        self.turn(now_ms)
        for connection in self.connections[:]:
            self._drop(connection)
