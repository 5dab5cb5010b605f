"""Where the programs of a board's own machine come in: the listening socket, and nothing more until somebody knocks.

Rule: a board that nobody asks pays for little more than the socket; who knocks where there is no memory to serve him is told so. Must not
know: what can be asked.
"""

import gc

from .main import let_go

FREE_BYTES = 20480  # of the heap; with less, nobody is served: sync needs it more
RESERVE_BYTES = 10240  # of the heap, for the node; where less is left after a turn, what serves is given back
_NO_MEMORY = b'{"id": 0, "error": "the node has no memory to answer now; ask again", "kind": "full"}'
REFUSAL = bytes((0, 0, 0, len(_NO_MEMORY), 0, 0, 0, 0)) + _NO_MEMORY  # a whole message, made while there is memory
_POLLIN = 1


class Door:
    """listener: what `control_socket.listen` gave; link: a BoardLink or None; poll: of the loop, which calls `note` with what it says and
    `turn` afterwards; configured: limits of the configuration where an operator has set others, else None."""

    def __init__(self, listener, node, link, poll, configured):
        self.listener = listener
        self.node = node
        self.link = link
        self.poll = poll
        self.configured = configured
        self.seen = None  # what the last look at its health has to know the next time, where there is no link to keep it
        self.control = None  # who serves, while somebody is served
        self.knocking = False
        poll.register(listener, _POLLIN)

    def note(self, source, events):
        """What poll said of a socket, which may be somebody else's."""
        if source is self.listener:
            self.knocking = True
        elif self.control is not None:
            self.control.note(source, events)

    def turn(self, now_ms):
        """Whatever can be done without waiting. Returns when to come again (monotonic ms), -1 for when poll says so."""
        if self.control is None:
            if not self.knocking or not self._open():
                return -1
        try:
            due_ms = self.control.turn(now_ms)
            if is_low():
                self.control.relieve()
                if self.control is not None and is_low():
                    self._abandon()
        except MemoryError:  # whoever asks must not end the node
            self._abandon()
        return due_ms if self.control is not None else -1

    def connected(self):
        """Connections: of the control socket, and the way out."""
        return (len(self.control.connections) if self.control is not None else 0) + (self.link is not None)

    def _abandon(self):
        control, self.control = self.control, None
        for connection in control.connections:
            self.poll.unregister(connection.socket)
            connection.give_up()
            connection.close()
        control.connections = []
        control.give_back()

    def _open(self):
        """Returns whether there is somebody to serve, and memory for it."""
        gc.collect()
        try:
            if gc.mem_free() < FREE_BYTES:
                raise MemoryError
            from .control import Control

            self.control = Control(self)
            return True
        except MemoryError:
            let_go("streamline_board.control")
        self.knocking = False
        try:
            sock, _ = self.listener.accept()
            sock.write(REFUSAL)
            sock.close()
        except OSError:
            pass  # gone already
        return False

    def close(self, now_ms):
        """The node has closed: who waits for what is durable is answered, as far as the sockets take it."""
        if self.control is not None:
            self.control.close(now_ms)
        self.poll.unregister(self.listener)
        self.listener.close()
        from .control_socket import remove

        remove(self.node.config.data_dir)


def is_low():
    """Whether less of the heap is free than the node may need next."""
    if gc.mem_free() >= RESERVE_BYTES:
        return False
    gc.collect()
    return gc.mem_free() < RESERVE_BYTES
