"""A board's control socket: who comes, and who is served.

Rule: nothing in it waits. What serves is loaded when somebody comes and there is memory for it, and given back when nobody asks any more:
sync needs the heap more. Who is one too many is told so. Must not know: what can be asked.
"""

import gc

from .main import let_go

CONNECTIONS_MAX = 8
GREETED_PER_TURN = 4
FREE_BYTES = 24576  # of the heap; with less, nobody is served
STAYS_MS = 3000  # after the last question: who asks often asks again
STALLED_MS = 10000  # who has not read his answer for so long makes room for another
_SERVES = "streamline_board.control_connection"
_POLLIN = 1


class Control:
    """listener: what `control_socket.listen` gave; link: a BoardLink or None; poll: of the loop, which calls `note` with what it says and
    `turn` afterwards; configured: limits of the configuration where an operator has set others, else None."""

    def __init__(self, listener, config, node, link, poll, configured):
        self.config = config
        self.node = node
        self.link = link
        self.configured = configured
        self.connections = []
        self.bodies = None  # of requests that are being read or served
        self.asked_ms = None  # when the last question came, while what it needed is here
        self.seen = None  # what the last look at its health has to know the next time, where there is no link to keep it
        self._listener = listener
        self._poll = poll
        self._knocking = False
        self._served = None  # the module that serves, while it is loaded
        poll.register(listener, _POLLIN)

    def note(self, source, events):
        """What poll said of a socket, which may be somebody else's."""
        if source is self._listener:
            self._knocking = True
            return
        for connection in self.connections:
            if connection.socket is source:
                connection.events |= events
                return

    def turn(self, now_ms):
        """Whatever can be done without waiting. Returns when to come again (monotonic ms), -1 for when poll says so."""
        if self._knocking:
            self._greet(now_ms)
        if self._served is None:
            return -1
        due_ms = -1
        for connection in self.connections[:]:
            at_ms = connection.turn(now_ms)
            if connection.gone:
                self._drop(connection)
            elif connection.wanted != connection.polled:
                self._poll.modify(connection.socket, connection.wanted)
                connection.polled = connection.wanted
            if at_ms >= 0 and (due_ms < 0 or at_ms < due_ms):
                due_ms = at_ms
        if self.asked_ms is not None and not any([connection.busy for connection in self.connections]):
            stays_ms = self.asked_ms + STAYS_MS
            if now_ms >= stays_ms:
                self._give_back()
            elif due_ms < 0 or stays_ms < due_ms:
                due_ms = stays_ms
        return due_ms

    def _greet(self, now_ms):
        self._knocking = False
        for _ in range(GREETED_PER_TURN):
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            why = self._refusal(now_ms)
            if why is None:
                self.asked_ms = now_ms
                self.connections.append(self._served.Connection(self, sock, self.bodies, now_ms))
                self._poll.register(sock, _POLLIN)
            else:
                text = b'{"id": 0, "error": "%s", "kind": "full"}' % why.encode()
                try:
                    sock.write(bytes((0, 0, 0, len(text), 0, 0, 0, 0)) + text)
                except OSError:
                    pass  # gone already
                sock.close()

    def _refusal(self, now_ms):
        """Why nobody more is served now, in at most 200 ASCII characters; None where somebody is."""
        most, used = self.config.resources.max_connections, self.connected()
        if most is not None and used + 1 > most:
            return "resources.max_connections: %d of %d are used, and 1 more were wanted" % (used, most)
        if len(self.connections) >= CONNECTIONS_MAX:
            stalled = [connection for connection in self.connections if now_ms - connection.moved_ms > STALLED_MS and connection.stalled]
            if not stalled:
                return "%d connections are open" % CONNECTIONS_MAX
            self._drop(stalled[0])
        if self._served is None:
            gc.collect()
            try:
                if gc.mem_free() < FREE_BYTES:
                    raise MemoryError
                from . import control_connection

                self._served = control_connection
                self.bodies = control_connection.bodies(self.config)
            except MemoryError:
                let_go(_SERVES)
                return "the node has no memory to answer now; ask again"
        return None

    def connected(self):
        """Of the control socket, and the way out."""
        return len(self.connections) + (self.link is not None)

    def _drop(self, connection):
        self._poll.unregister(connection.socket)
        connection.close()
        self.connections.remove(connection)

    def _give_back(self):
        from streamline_core.answer import give_back

        give_back(self.node)
        for name in self._served.LENT:
            let_go(name)
        self.asked_ms = None
        if not self.connections:
            self._served = None
            let_go(_SERVES)

    def close(self, now_ms):
        """The node has closed: who waits for what is durable is answered, as far as the sockets take it."""
        self.turn(now_ms)
        for connection in self.connections[:]:
            self._drop(connection)
        self._poll.unregister(self._listener)
        self._listener.close()
        from .control_socket import remove

        remove(self.config.data_dir)
