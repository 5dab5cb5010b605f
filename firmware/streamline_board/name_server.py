"""A client of name servers (DNS, RFC 1035; for names that end in .local multicast DNS, RFC 6762, section 6.7).

Rule: nothing here waits: who needs an address that is not known yet is told so, and asks again. The last address of a name is good until a
server says another (RFC 8767): an edge is without a name server more often than a host moves. Must not know: how messages are written, who
needs an address.
"""

import errno
import socket
import struct

from .dns import MESSAGE_BYTES_MAX, query, read_answer

PORT = 53
MULTICAST = "224.0.0.251", 5353
ANSWER_MS = 2000
TRIES = 3
POLL_MS = 50
FAILED_MS = 5000  # until a name that has no address is asked for again
TTL_SECS = (60, 3600)  # whatever a server says
NAMES_MAX = 4


class LookingUp(OSError):
    """Ask again in a moment."""


class Names:
    """entropy: the board's; servers: gives the addresses of the name servers there are now, each with :PORT where it is another. Whoever
    owns it calls `turn`."""

    def __init__(self, entropy, servers):
        self._entropy = entropy
        self._servers = servers
        self._rows = []  # of _Name, the one that was needed last at the end
        self._now_ms = 0

    def address(self, host):
        """Of `host`, which may be one. Raises LookingUp as long as nobody has answered, OSError where there is none."""
        if _is_address(host):
            return host
        row = None
        for known in self._rows:
            if known.host == host:
                row = known
                self._rows.remove(known)
                break
        if row is None:
            row = _Name(host)
            if len(self._rows) >= NAMES_MAX:
                self._rows.pop(0).close()
        self._rows.append(row)
        if row.socket is None and self._now_ms >= row.again_ms:
            row.begin(self._now_ms, self._entropy, self._servers())
        if row.address:
            return row.address
        if row.socket is not None:
            raise LookingUp("looking up %s" % host)
        raise OSError("no address of %s: %s" % (host, row.why))

    def turn(self, now_ms):
        """Take up what has come. Returns when to come again (monotonic ms), -1 for never."""
        self._now_ms = now_ms
        at_ms = -1
        for row in self._rows:
            if row.socket is not None:
                row.look(now_ms)
            if row.socket is not None:
                at_ms = now_ms + POLL_MS
        return at_ms


class _Name:
    """address: the last one that was known, or ""; why: there is none; again_ms: when it is to be asked for again; socket: while it is."""

    def __init__(self, host):
        self.host = host
        self.address = self.why = ""
        self.again_ms = 0
        self.socket = None
        self._asked = b""
        self._left = ()  # of the servers, whom to ask next
        self._until_ms = 0

    def begin(self, now_ms, entropy, servers):
        number = bytearray(2)
        entropy.fill(number)
        try:
            self._asked = query(self.host, struct.unpack(">H", number)[0])
        except ValueError as error:
            self._fail(now_ms, str(error))
            return
        if self.host.endswith(".local"):
            self._left = [MULTICAST] * TRIES
        else:
            self._left = [_place(server) for server in servers] * TRIES
        if not self._left:
            self.why = "there is no name server"
            return
        self._ask(now_ms)

    def _ask(self, now_ms):
        """The next server. Another socket for each: what comes late from one is not taken for an answer of the next."""
        self.close()
        host, port = self._left.pop(0)
        sock = None
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.sendto(self._asked, socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0][-1])
        except OSError as error:
            if sock is not None:
                sock.close()
            self._give_up(now_ms, "%s cannot be asked: %s" % (host, error))
            return
        self.socket = sock
        self._until_ms = now_ms + ANSWER_MS

    def look(self, now_ms):
        for _ in range(TRIES):  # strangers may send, too
            try:
                data = self.socket.recv(MESSAGE_BYTES_MAX)
            except OSError as error:
                if error.errno != errno.EAGAIN:  # nobody listens there
                    self._give_up(now_ms, "no name server answers")
                    return
                break
            found = read_answer(data, self._asked)
            if found is not None:
                self._take(now_ms, found[0], found[1])
                return
        if now_ms >= self._until_ms:
            self._give_up(now_ms, "no name server answers")

    def _take(self, now_ms, address, ttl_secs):
        if not address:
            self._give_up(now_ms, "the name server knows none")
            return
        self.close()
        self.address, self.why = address, ""
        self.again_ms = now_ms + 1000 * max(TTL_SECS[0], min(TTL_SECS[1], ttl_secs))

    def _give_up(self, now_ms, why):
        """Of this server; of the name, where there is no other to ask."""
        if self._left:
            self._ask(now_ms)
        else:
            self._fail(now_ms, why)

    def _fail(self, now_ms, why):
        self.close()
        self.why = why
        self.again_ms = now_ms + FAILED_MS

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def _is_address(host):
    parts = host.split(".")
    return len(parts) == 4 and all([part.isdigit() and int(part) < 256 for part in parts])


def _place(server):
    host, _, port = server.partition(":")
    return host, int(port) if port else PORT
