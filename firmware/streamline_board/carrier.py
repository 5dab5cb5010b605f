"""A stream of bytes that a board keeps up: opened, read, written in pieces, and when it breaks opened again after a wait.

Rule: a stream that cannot be had, or breaks, is a state, not a crash; at most one frame waits to be written, so that liveness never queues
behind data; what answers questions is loaded when somebody asks. Must not know: what the bytes say, where the stream leads.
"""

import errno
import gc
import json

from streamline_core.backoff import Backoff
from streamline_core.errors import ProtocolError, QueueFull, UsageError
from streamline_core.stream import check_node_id

READS_PER_TURN = 64
FRAMES_PER_TURN = 16  # then records get their turn
ASK_FREE_BYTES = 20480  # of the heap; with less, questions are turned away: sync needs it more
ASK_MS = 250  # a flood of questions is no reason to look for memory all the time
REQUEST_BYTES_MAX = 256  # as the core's `ask` has it
NO_ANSWER = b"no memory for this answer now; ask again"
NO_MEMORY = "no memory"
BREAKS = (OSError, ProtocolError, QueueFull)  # made once: MicroPython makes a tuple that stands after `except` anew, which takes memory
POLLIN, POLLOUT = 1, 4


class Carrier:
    """config: an EdgeConfig with a cloud_endpoint; node: the core's; poll: of the loop, which calls `turn` when there is something to do.
    endpoint: where it leads, for people.

    A link says what the stream is and what the bytes mean, by the methods under "its own".
    """

    def __init__(self, config, node, clock, entropy, poll, endpoint):
        self._config = config
        self._node = node
        self._clock = clock
        self._poll = poll
        self._backoff = Backoff(entropy, config.sync.retry.initial_ms, config.sync.retry.max_ms)
        self._stream = None
        self._polled = None  # what stands for the stream in the poll
        self._next_try_ms = 0
        self._waiting_for = 0
        self._frames = 0  # of this turn
        self.endpoint = endpoint
        self.answers = None  # what answers questions, while somebody asks
        self._refusal = None  # what is said to one who is not answered
        self.seen = None  # what it has to know the next time
        self.source = None  # what gives readings, where a status has something to say of it
        self.connected = False  # whether frames can travel
        self.reason = ""  # why they cannot
        self.up_ms = self._ask_at_ms = 0
        self.down_ms = clock.monotonic_ms()  # since when they cannot

    # Its own

    def _begin(self, now_ms):
        """The stream, opened: `readinto`, `write` and `close`, none of which waits. Raises OSError, ValueError."""
        raise NotImplementedError

    def _begun(self, now_ms):
        """It is open, and watched."""

    def _room(self):
        """A buffer for what comes."""
        raise NotImplementedError

    def _arrived(self, count, now_ms):
        """So much of the buffer holds what came; 0: the other side has closed. False: read no more in this turn. Raises OSError,
        ProtocolError, QueueFull."""
        raise NotImplementedError

    def _tick(self, now_ms):
        """What is due. Raises OSError, ProtocolError, QueueFull."""

    def _next_bytes(self):
        """What is to be written next; None for nothing. Raises QueueFull."""
        raise NotImplementedError

    def _written(self, count):
        """So much of it has gone."""
        raise NotImplementedError

    def _due_ms(self, now_ms):
        """When `_tick` has something to do (monotonic ms); None for never."""

    def _shut(self):
        """Close the stream."""
        self._stream.close()

    def _over(self, now_ms):
        """The stream is gone: forget what was on its way."""

    def counters(self):
        """What it has counted, for a status."""
        return {}

    # Of all links

    def deadline_ms(self):
        """When `turn` wants to be called (monotonic ms), -1 for never."""
        if self._stream is None:
            return self._next_try_ms
        due_ms = self._due_ms(self._clock.monotonic_ms())
        if self.answers is not None:
            return self.answers.deadline_ms(due_ms)
        return -1 if due_ms is None else due_ms

    def turn(self):
        """Read, act, write: whatever can be done without waiting."""
        now_ms = self._clock.monotonic_ms()
        if self._stream is None:
            if now_ms < self._next_try_ms:
                return
            self._open(now_ms)
        if self._stream is not None:
            try:
                if self._polled is None:
                    self._watch(now_ms)
                self._read(now_ms)
                self._tick(now_ms)
                self._write()
            except MemoryError:  # what of a packet was taken up nobody knows
                self._node.memory_errors += 1
                gc.collect()
                self._close(NO_MEMORY)
            except BREAKS as error:
                self._close(_in_words(error))

    def _open(self, now_ms):
        try:
            stream = self._begin(now_ms)
        except MemoryError:
            self._node.memory_errors += 1
            gc.collect()
            self._later(NO_MEMORY)
            return
        except (OSError, ValueError) as error:
            self._later("no connection: %s" % error)
            return
        self._stream = stream

    def _watch(self, now_ms):
        """Begin with a stream that was just opened: one that there is no memory for is closed, or it would be waited for for ever."""
        polled = getattr(self._stream, "polled", self._stream)
        self._poll.register(polled, POLLIN)
        self._polled, self._waiting_for = polled, POLLIN
        self._begun(now_ms)

    def _later(self, reason):
        self._next_try_ms = self._clock.monotonic_ms() + self._backoff.wait_ms()
        self._down(reason)

    def _close(self, reason):
        now_ms = self._clock.monotonic_ms()
        if self._stream is not None:
            if self._polled is not None:
                self._poll.unregister(self._polled)
            self._shut()
            self._stream = self._polled = None
        self._refusal = None
        self._over(now_ms)
        self._backoff.down(now_ms)
        self._later(reason)

    def _up(self, now_ms):
        """Frames can go both ways."""
        self.connected = True
        self.up_ms = now_ms
        self._backoff.up(now_ms)
        self._node.link.up()

    def _down(self, reason):
        """Frames cannot travel, whether or not they could before."""
        if self.connected:
            self.connected = False
            self.down_ms = self._clock.monotonic_ms()
        self.reason = reason
        self._node.link.down(reason)

    def _read(self, now_ms):
        for _ in range(READS_PER_TURN):
            room = self._room()
            try:
                count = self._stream.readinto(room)
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    return
                raise
            if count is None:
                return
            if not self._arrived(count, now_ms) or count < len(room):
                return

    def _write(self):
        self._frames = 0
        while True:
            data = self._next_bytes()
            if data is None:
                break
            try:
                count = self._stream.write(data)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EINPROGRESS):
                    raise
                count = None
            if not count:
                self._wait_for(POLLIN | POLLOUT)
                return
            self._written(count)
        self._wait_for(POLLIN | POLLOUT if self._frames == FRAMES_PER_TURN else POLLIN)

    def _wait_for(self, events):
        if self._waiting_for != events:
            self._poll.modify(self._polled, events)
            self._waiting_for = events

    def _next_frame(self):
        """The node's next frame; None where there is none, or others have their turn first."""
        frame = self._node.link.next_frame() if self._frames < FRAMES_PER_TURN else None
        if frame is not None:
            self._frames += 1
        return frame

    def _next_piece(self):
        """The next piece of an answer that is due, or None."""
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            return refusal
        return self.answers.next_piece() if self.answers is not None else None

    def _asked(self, question):
        now_ms = self._clock.monotonic_ms()
        if self.answers is None and now_ms >= self._ask_at_ms:
            self._ask_at_ms = now_ms + ASK_MS
            gc.collect()
            if gc.mem_free() >= ASK_FREE_BYTES:
                try:
                    from .answers import BoardAnswers  # a board that nobody asks does not pay for it

                    self.answers = BoardAnswers(self._config, self._node, self)
                except MemoryError:
                    pass  # it is free in small pieces only
            if self.answers is None:
                self._refusal = _refusal(question)
        if self.answers is not None:
            self.answers.receive(question)


def _in_words(error):
    """What it says, where there is memory for that: without words, too, its stream has to be closed."""
    try:
        return str(error)
    except MemoryError:
        return NO_MEMORY


def _refusal(question):
    """An answer as `ask.Answers` gives one, without what it takes to load that; None where nobody could read it."""
    try:
        id = json.loads(bytes(question))["id"] if len(question) <= REQUEST_BYTES_MAX else None
        check_node_id(id)
    except (ValueError, KeyError, TypeError, UsageError):
        return None
    return b'{"id": "%s", "piece": 0, "last": true, "error": "other"}\n%s' % (id.encode(), NO_ANSWER)
