"""Requests, as they come in on a connection of a board's control socket.

Rule: a length is checked before a byte is waited for, and room for a body is found before any of it is read; what is too large for a board
is passed over, so that who sent it can be told; what does not end in time is an error. Must not know: what is asked.
"""

import errno
import json

from streamline_core.control_wire import PREFIX_BYTES, lengths
from streamline_core.errors import ProtocolError
from streamline_core.utf8 import decode_utf8

HEADER_BYTES_MAX = 2048
BODIES = 2  # so many times the largest body is there room for, of all connections together
REQUEST_MS_MAX = 10000  # from its first byte to its last
_SKIP_BYTES = 512
_PREFIX, _HEADER, _BODY, _PASSED_OVER = 0, 1, 2, 3


class Bodies:
    """How many bytes of bodies there are, of all connections. bytes_max: of one."""

    def __init__(self, bytes_max):
        self.bytes_max = bytes_max
        self.bytes = 0

    def room(self, n):
        """A buffer of n bytes; None where others have to be served first. Raises MemoryError where there are no others."""
        if self.bytes and self.bytes + n > BODIES * self.bytes_max:
            return None
        try:
            buf = bytearray(n)
        except MemoryError:
            if self.bytes:
                return None
            raise
        self.bytes += n
        return buf


class RequestReader:
    """sock: does not block; bodies: of all connections. ready: whether poll has said that there is something to read."""

    def __init__(self, sock, bodies):
        self.ready = False
        self._socket = sock
        self._bodies = bodies
        self._held = 0
        self._header = None
        self._body_bytes = 0
        self._left = 0  # of a body that is passed over
        self._begun_ms = -1  # when the first byte of this request came
        self._expect(_PREFIX, bytearray(PREFIX_BYTES))

    def _expect(self, stage, buf):
        self._stage, self._buf, self._filled = stage, buf, 0

    @property
    def waits(self):
        """Whether it waits for room, and not for bytes."""
        return self._buf is None

    def deadline_ms(self):
        """When what has begun must have ended (monotonic ms), -1 where nothing has."""
        return self._begun_ms + REQUEST_MS_MAX if self._begun_ms >= 0 else -1

    def release(self):
        """The body is not needed any more."""
        self._bodies.bytes -= self._held
        self._held = 0

    def read(self, now_ms):
        """(header, body) of a request that has come, the body as a memoryview, or None where it is too large: then its size is
        `passed_over`. None where none is whole yet. Raises ProtocolError, MemoryError, OSError where the other side is gone."""
        if self._begun_ms >= 0 and now_ms - self._begun_ms > REQUEST_MS_MAX and not self.waits:
            raise ProtocolError("half a message came, and nothing more for %d s" % (REQUEST_MS_MAX // 1000))
        if self.waits and not self._find_room(now_ms):
            return None
        while self.ready:
            n = self._socket.readinto(memoryview(self._buf)[self._filled :])
            if n is None:
                self.ready = False
                return None
            if n == 0:
                raise OSError(errno.ECONNRESET)
            if self._begun_ms < 0:
                self._begun_ms = now_ms
            self._filled += n
            if self._stage == _PASSED_OVER:
                self._left -= n
                if self._left:
                    self._expect(_PASSED_OVER, self._buf if self._left >= len(self._buf) else bytearray(self._left))
                    continue
            elif self._filled < len(self._buf):
                continue
            if self._stage == _PREFIX:
                self._prefix()
            elif self._stage == _HEADER:
                self._header = _object(self._buf)
                if not self._body_bytes:
                    return self._whole(b"")
                if self._body_bytes > self._bodies.bytes_max:
                    self._left = self._body_bytes
                    self._expect(_PASSED_OVER, bytearray(min(_SKIP_BYTES, self._left)))
                else:
                    self._expect(_BODY, None)
                    if not self._find_room(now_ms):
                        return None
            else:
                return self._whole(memoryview(self._buf) if self._stage == _BODY else None)
        return None

    def _prefix(self):
        header_bytes, self._body_bytes = lengths(self._buf)
        if header_bytes > HEADER_BYTES_MAX:
            text = "control message announces a header of %d bytes, and this node takes %d; send less at once"
            raise ProtocolError(text % (header_bytes, HEADER_BYTES_MAX))
        self._expect(_HEADER, bytearray(header_bytes))

    def _find_room(self, now_ms):
        buf = self._bodies.room(self._body_bytes)
        if buf is None:
            return False
        self._held = self._body_bytes
        self._begun_ms = now_ms  # it was us who kept it waiting
        self._expect(_BODY, buf)
        return True

    def _whole(self, body):
        header, self._header = self._header, None
        self.passed_over = self._body_bytes
        self._begun_ms = -1
        self._expect(_PREFIX, bytearray(PREFIX_BYTES))
        return header, body


def _object(data):
    """Raises ProtocolError unless it is a JSON object."""
    try:
        header = json.loads(decode_utf8(data))
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise ProtocolError("control message: its header is not a JSON object")
    return header
