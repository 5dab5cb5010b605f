"""One connection to a board's control socket: requests are served in order, and answered.

Rule: nothing is read before what came first is served, and nothing more is said before what was said is written: so what waits has a bound,
and who does not read his answers waits alone. A broken message ends its connection and nothing else. Must not know: what operations do.
"""

import errno
import struct

from streamline_core.control_wire import kind_of
from streamline_core.errors import ProtocolError, UsageError

from .control_request import RequestReader
from .door import REFUSAL

WAITS_MAX = 16  # produce requests that wait for the disk or the cloud
PIECES_PER_TURN = 2
ROOM_MS = 20  # until it is looked again whether there is room
CHUNK_BYTES = 512
DEPTH = 3  # rows of an answer are written one by one
POLLIN, POLLOUT, ENDED = 1, 4, 8 | 16
_OVER = (None,)
_OUT_OF_STEP = (ProtocolError, MemoryError)


class Connection:
    """control: whose; sock: accepted, does not block. gone: it is to be closed. wanted, polled: what poll is to
    look for, and what it does."""

    def __init__(self, control, sock, now_ms):
        self.control = control
        self.node = control.node
        self.socket = sock
        self.events = 0
        self.wanted = self.polled = POLLIN
        self.gone = False
        self.moved_ms = now_ms  # when something was last written
        self.refused = set()  # producers of which nothing more is taken
        self._reader = RequestReader(sock, control.bodies)
        self._waits = []
        self._stream = None  # (id, what gives pieces beside other requests)
        self._stream_over = None
        self._work = None  # (id, what gives the answers of the request that is being served)
        self._ending = False
        self._parts = None  # of the message that is being written
        self._cut = False  # whether a part of it is
        self._rest = b""

    @property
    def busy(self):
        """Whether it answers something, or waits to."""
        return self.stalled or self._work is not None or len(self._waits) > 0

    @property
    def stalled(self):
        """Whether an answer is not written yet."""
        return self._parts is not None or len(self._rest) > 0

    def turn(self, now_ms):
        """Whatever can be done without waiting. Returns when to come again (monotonic ms), -1 for when poll says so."""
        if self.events & (POLLIN | ENDED):
            self._reader.ready = True
        try:
            more = self._turn(now_ms)
        except OSError:  # nothing is owed to who went away
            self.gone = True
            return -1
        except MemoryError:
            self.give_up()
            return -1
        ended, self.events = self.events & ENDED, 0
        if self.stalled:
            self.wanted = POLLOUT
            return -1
        waits = self._work is not None or self._reader.waits
        self.wanted = 0 if waits or len(self._waits) >= WAITS_MAX else POLLIN
        if ended and not self.wanted:
            self.gone = True
        if more:
            return now_ms
        return now_ms + ROOM_MS if waits else self._reader.deadline_ms()

    def _turn(self, now_ms):
        """Returns whether there is more to do at once."""
        served, pieces = False, 0
        while self._write(now_ms):
            if self._ending:
                self.gone = True
                break
            if self._answer_waits():
                continue
            if self._work is not None:
                if self._step_work():
                    continue
            elif not served and len(self._waits) < WAITS_MAX and self._read(now_ms):
                served = True
                continue
            if self._stream is None or not self._step_stream():
                return False
            pieces += 1
            if pieces == PIECES_PER_TURN:
                return True
        return False

    def refuse(self, why):
        """Say why it is not served, and close it."""
        self._say(0, {"error": why, "kind": "full"})
        self._ending = True

    def give_up(self):
        """There is no memory to go on with it: say so, where that does not fall into the middle of an answer."""
        self.gone = True
        if not self._cut:
            try:
                self.socket.write(REFUSAL)
            except OSError:
                pass

    def close(self):
        self._reader.release()
        self._end_stream()
        self.socket.close()

    # What is asked

    def _read(self, now_ms):
        """Serve what has come. Returns whether a whole request had. Raises OSError where the other side is gone."""
        try:
            request = self._reader.read(now_ms)
        except _OUT_OF_STEP as error:  # what comes after it cannot be told apart
            self._error(0, error)
            self._ending = True
            return True
        if request is None:
            return False
        self.control.asked_ms = now_ms
        header, body = request
        id = header.get("id")
        try:
            if body is None:
                text = "a request of %d bytes is too large for this node, which takes %d at once"
                raise UsageError(text % (self._reader.passed_over, self.control.bodies.bytes_max))
            from .control_ops import serve

            said = serve(self, header, body)
        except Exception as error:  # whatever a request does, it must not end the node, and must be answered
            self._error(id, error)
            return True
        if said is None:
            self._reader.release()
        elif isinstance(said, dict):
            self._say(id, said)
            self._reader.release()
        else:
            self._work = id, said
        return True

    def begin(self, header, stream, over=None):
        """Let `stream` give pieces beside other requests; over: called when it has ended. Raises UsageError where one does already."""
        if self._stream is not None:
            raise UsageError("1 consumer runs on this connection, as many as a board serves; open another one")
        self._stream, self._stream_over = (header.get("id"), stream), over

    def wait(self, header, rows, ack, said, whose=None):
        """Answer when all of `rows` ([log, first offset, next offset]) has got as far as `ack` says, with the first offset and `said`.
        whose: who is refused from then on if it does not."""
        from .control_waits import Wait

        self._waits.append(Wait(header.get("id"), rows, ack, said, whose))

    # What is said

    def _step_work(self):
        """Returns whether it has said something, or is over."""
        said = self._step(self._work)
        if said is _OVER:
            self._work = None
            self._reader.release()
        return said is not None

    def _step_stream(self):
        """As `_step_work`."""
        said = self._step(self._stream)
        if said is _OVER:
            self._end_stream()
        return said is not None

    def _end_stream(self):
        over, self._stream, self._stream_over = self._stream_over, None, None
        if over is not None:
            over()

    def _step(self, whose):
        """Say the next piece. Returns it, None where that has to wait, _OVER where there is none."""
        id, pieces = whose
        try:
            for said in pieces:
                if said is not None:
                    self._say(id, said[0], said[1])
                return said
        except Exception as error:  # as in _read
            self._error(id, error)
        return _OVER

    def _answer_waits(self):
        """Answer one that waits no longer. Returns whether there was one."""
        for wait in self._waits:
            try:
                if not wait.over():
                    continue
                self._say(wait.id, wait.answer())
            except Exception as error:  # as in _read
                if wait.whose is not None:
                    self.refused.add(wait.whose)
                self._error(wait.id, error)
            self._waits.remove(wait)
            return True
        return False

    def _error(self, id, error):
        kind = kind_of(error)
        text = str(error) if kind != "internal" else "%s: %s" % (type(error).__name__, error)
        if isinstance(error, MemoryError):
            kind, text = "full", "the node has no memory for this now; ask again"
        self._reader.release()
        self._say(id, {"error": text, "kind": kind})

    def _say(self, id, said, body=b""):
        if "error" not in said and "more" not in said:
            said["ok"] = True
        said["id"] = id
        self._parts = _message(said, body)
        self._cut = False

    def _write(self, now_ms):
        """Write what was said, as far as the other side takes it. Returns whether that is all. Raises OSError."""
        while True:
            while not self._rest:
                if self._parts is None:
                    self._cut = False
                    return True
                for part in self._parts:
                    self._rest = memoryview(part)
                    break
                else:
                    self._parts = None
            try:
                n = self.socket.write(self._rest)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                n = None
            if not n:
                return False
            self.moved_ms = now_ms
            self._cut = True
            self._rest = self._rest[n:]


def _message(said, body):
    """The parts of a message. Its JSON is made twice, so that it never is in memory as a whole."""
    from streamline_core.answer import written

    text = struct.pack(">II", sum([len(part.encode()) for part in written(said, DEPTH)]), len(body))
    for part in written(said, DEPTH):
        text += part.encode()
        if len(text) >= CHUNK_BYTES:
            yield text
            text = b""
    if text:
        yield text
    if body:
        yield body
