"""Requests on a board's control socket: however they are cut, they are whole or refused, and what waits for them is bounded."""

import json
import struct

from harness import raises
from streamline_board.control_request import BODIES, HEADER_BYTES_MAX, REQUEST_MS_MAX, Bodies, RequestReader
from streamline_core.errors import ProtocolError

BODY_BYTES = 600


class Socket:
    """Gives what was put into it, at most `most` bytes at once; b"" at its end."""

    def __init__(self, data=b"", most=1 << 20):
        self.data = data
        self.most = most
        self.ended = False

    def readinto(self, buf):
        n = min(len(buf), len(self.data), self.most)
        if not n:
            return 0 if self.ended else None
        buf[:n] = self.data[:n]
        self.data = self.data[n:]
        return n


def message(header, body=b""):
    text = json.dumps(header).encode()
    return struct.pack(">II", len(text), len(body)) + text + body


def taken(reader, now_ms=0):
    reader.ready = True
    found = reader.read(now_ms)
    return found and (found[0], bytes(found[1]) if found[1] is not None else None)


def test_a_request_is_whole_however_it_comes():
    data = message({"op": "a", "id": 1}, b"body") + message({"op": "b"})
    for most in range(1, len(data) + 1):
        sock = Socket(data, most)
        reader = RequestReader(sock, Bodies(BODY_BYTES))
        assert taken(reader) == ({"op": "a", "id": 1}, b"body")
        reader.release()
        assert taken(reader) == ({"op": "b"}, b"")
        assert taken(reader) is None and reader.deadline_ms() == -1
    for cut in range(len(data) - 1):
        sock = Socket(data[:cut])
        reader = RequestReader(sock, Bodies(BODY_BYTES))
        found = taken(reader)
        while found is not None:
            found = taken(reader)
        sock.ended = True
        raises(OSError, taken, reader)


def test_what_is_no_request_is_refused():
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 20, struct.pack(">II", HEADER_BYTES_MAX + 1, 0), struct.pack(">II", 1, 0) + b"{",
                 struct.pack(">II", 2, 0) + b"[]", struct.pack(">II", 2, 0) + b"{{", struct.pack(">II", 4, 0) + b'"\xff\xff"'):
        raises(ProtocolError, taken, RequestReader(Socket(data), Bodies(BODY_BYTES)))


def test_a_body_that_is_too_large_is_passed_over_and_the_next_request_is_read():
    for size in (BODY_BYTES + 1, 5000, 100000):
        for most in (7, 512, 4096):
            bodies = Bodies(BODY_BYTES)
            reader = RequestReader(Socket(message({"op": "a"}, bytes(size)) + message({"op": "b"}), most), bodies)
            assert taken(reader) == ({"op": "a"}, None) and reader.passed_over == size and not bodies.bytes
            assert taken(reader) == ({"op": "b"}, b"")


def test_bodies_wait_for_room_and_those_who_keep_others_waiting_are_ended():
    bodies = Bodies(BODY_BYTES)
    sockets = [Socket(message({"n": n}, bytes(BODY_BYTES))[:-1]) for n in range(BODIES + 1)]
    readers = [RequestReader(sock, bodies) for sock in sockets]
    for reader in readers:
        assert taken(reader, 5) is None
    assert [reader.waits for reader in readers] == [False] * BODIES + [True] and bodies.bytes == BODIES * BODY_BYTES
    assert readers[0].deadline_ms() == 5 + REQUEST_MS_MAX
    assert taken(readers[0], 5 + REQUEST_MS_MAX) is None
    raises(ProtocolError, taken, readers[0], 6 + REQUEST_MS_MAX)
    assert taken(readers[-1], 6 + REQUEST_MS_MAX) is None  # it is not its fault
    readers[0].release()
    sockets[-1].data += b"\0"
    assert taken(readers[-1], 6 + REQUEST_MS_MAX) == ({"n": BODIES}, bytes(BODY_BYTES))
