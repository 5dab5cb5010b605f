"""One session between two nodes: greeting, then streams both ways, over a carrier that may lose, repeat or reorder frames.

Rule: what a frame means in a state stands in TABLE, and nowhere else. A session has one id, made of both sides' random nonces; a frame
with another id never reaches it. Knows nothing of who carries the frames, nor of what its owner does with what arrives.
"""

from . import frames
from .backoff import jitter
from .batch import OFFSET_MAX
from .errors import ProtocolError
from .frames import BYE, DATA, DIFF, ERROR, GAP, HAVE, HELLO, STATE, WANT, WELCOME
from .handshake import Identity, identity_in, session_id
from .hlc import WALL_MS_MAX
from .offers import Offers
from .outlet import Outlet
from .schedule import ALL, NOTHING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from .codec import Codecs
    from .frames import Frame
    from .hub_feeds import FeedSource
    from .log import Log
    from .ports import Entropy
    from .receiver import StreamReceiver
    from .reconcile import Dot, Reconcilers
    from .sender import Parting, StreamSender
    from .store_ops import Op

    class Owner(Protocol):
        """What a session asks of the node that it is a session of."""

        def offered(self, session: "Session", row: "Any") -> "StreamReceiver | None": ...
        def arrived(self, session: "Session", receiver: "StreamReceiver", ops: "list[Op]") -> None: ...
        def opened(self, session: "Session") -> None: ...
        def versions(self, session: "Session", handle: int, batch: bytes, gone: "list[tuple[bytes, Dot]]") -> None: ...
        def forked(self, session: "Session", sender: "StreamSender", parting: "Parting") -> None: ...
        def ended(self, session: "Session", code: str, text: str, away_ms: int) -> None: ...


IDLE = 0
GREETING = 1  # we said HELLO
GREETED = 2  # we answered WELCOME; the first frame with the new id opens it
OPEN = 3
CLOSED = 4
STATE_NAMES = ("idle", "greeting", "greeted", "open", "closed")

TABLE = {
    (GREETING, WELCOME): "_welcome",
    (GREETING, ERROR): "_error",
    (GREETED, HAVE): "_have",
    (GREETED, WANT): "_want",
    (OPEN, HAVE): "_have",
    (OPEN, WANT): "_want",
    (OPEN, DATA): "_data",
    (OPEN, GAP): "_gap",
    (OPEN, STATE): "_compare",
    (OPEN, DIFF): "_compare",
    (OPEN, ERROR): "_error",
    (OPEN, BYE): "_bye",
}

UNKNOWN_SESSION = "unknown session"
WANT_ROWS_MAX = 32
OUTBOX_MAX = 64  # frames that wait for the carrier; a peer that makes more of them and reads none gets no more
HELLO_ANSWER_MS = 2000
LOST_ROWS_MAX = 32
CAUSE_CHARS_MAX = 32


class Session:
    """me: who we are; read_buffer: where DATA frames are built (at least our largest batch + 24 bytes)."""

    def __init__(self, me: Identity, owner: "Owner", codecs: "Codecs", entropy: "Entropy", read_buffer: bytearray) -> None:
        self.me = me
        self.owner = owner
        self.codecs = codecs
        self.state = IDLE
        self.id = frames.NO_SESSION
        self.peer: "Identity | None" = None
        self.wall_ms: "int | None" = None  # the hub's clock as of its WELCOME
        self.round_trip_ms = -1
        self.outlet = Outlet(read_buffer)
        self._offers = Offers(me.role, self.outlet.senders, entropy)
        self.receivers: "dict[int, StreamReceiver]" = {}
        self.reconcilers: "Reconcilers | None" = None  # of keyed topics
        self._entropy = entropy
        self._nonce = b""
        self._outbox: "list[bytes]" = []
        self._want_due: "set[int]" = set()
        self._want_number = 0
        self._have_echo = 0
        self._greeted_ms = 0
        self._hello_until_ms = -1

    # Greeting

    def _greeting(self) -> "tuple[Any, ...]":
        nonce = bytearray(frames.ID_BYTES)
        self._entropy.fill(nonce)
        self._nonce = bytes(nonce)
        return self.me.greeting(self._nonce, self.codecs.names)

    def greet(self, now_ms: int) -> None:
        """As the one who dials: say HELLO. If nobody answers, the owner hears of it."""
        self.state = GREETING
        self._greeted_ms = now_ms
        self._hello_until_ms = now_ms + HELLO_ANSWER_MS + jitter(self._entropy, HELLO_ANSWER_MS)
        self._outbox = [frames.encode(HELLO, frames.NO_SESSION, self._greeting())]

    def answer(self, hello: "Frame", wall_ms: "int | None") -> None:
        """As the one who was dialled: answer a HELLO with WELCOME. Raises ProtocolError for a version we do not speak."""
        self._agree(hello.fields)
        fields = self._greeting()
        self.id = session_id(hello.fields[3], self._nonce)
        self.state = GREETED
        self._outbox = [frames.encode(WELCOME, self.id, fields + (hello.fields[3], wall_ms))]

    def _agree(self, greeting: "Any") -> None:
        peer = self.peer = identity_in(greeting)
        self.outlet.shortens = frames.DIFFERENCE in greeting[5]
        frame_bytes_max = min(peer.frame_bytes_max, self.me.frame_bytes_max)
        self.outlet.agree(self.codecs.choose(greeting[5]), frame_bytes_max, min(peer.raw_bytes_max, frames.RAW_BYTES_MAX))

    def _welcome(self, frame: "Frame", now_ms: int) -> None:
        fields = frame.fields
        if fields[10] != self._nonce or frame.session != session_id(self._nonce, fields[3]):
            raise ProtocolError("a WELCOME that answers another HELLO")
        if fields[11] is not None and fields[11] >= WALL_MS_MAX:
            raise ProtocolError("a WELCOME that says it is %d ms since 1970" % fields[11])
        self._agree(fields)
        self.id = frame.session
        self.wall_ms = fields[11]
        self.round_trip_ms = now_ms - self._greeted_ms
        self._open()
        have = self._offers.begin(self.id)
        if have is not None:
            self._outbox.append(have)

    def _open(self) -> None:
        self.state = OPEN
        self.owner.opened(self)

    # What comes in

    def receive(self, frame: "Frame", now_ms: int) -> None:
        """Take a frame that bears this session's id (or a WELCOME, or an ERROR to a HELLO). Raises ProtocolError; the session goes on."""
        name = TABLE.get((self.state, frame.type))
        if name is None:
            raise ProtocolError("a %s frame while %s" % (frames.NAMES[frame.type], STATE_NAMES[self.state]))
        if self.state == GREETED:
            self._open()
        getattr(self, name)(frame, now_ms)

    def _have(self, frame: "Frame", now_ms: int) -> None:
        number, rows = frame.fields
        self._have_echo = max(self._have_echo, number)
        for row in rows:
            receiver = self.receivers.get(row[0])
            if receiver is None:
                receiver = self.owner.offered(self, row)
                if receiver is None:
                    continue
                receiver.begin(row[0])
                self.receivers[row[0]] = receiver
            elif receiver.stream.key() != (row[6], row[4], row[5], row[7]):
                raise ProtocolError("a HAVE that gives handle %d to another stream" % row[0])
            self._want_due.add(row[0])
            if number <= receiver.have_number:
                continue  # overtaken by a later one, or a repeat
            receiver.have_number = number
            op = receiver.on_have(row[2], row[3], row[9], row[11], row[10])
            if op is not None:
                self.owner.arrived(self, receiver, [op])

    def _data(self, frame: "Frame", now_ms: int) -> None:
        handle, codec_id, raw_bytes, first = frame.fields
        receiver = self._receiver(handle)
        receiver.last_data_ms = now_ms
        codec, payload = self.codecs.by_id(codec_id & ~frames.SHORTENED), frame.payload or memoryview(b"")
        ops = receiver.on_data(first, codec, raw_bytes, payload, codec_id & frames.SHORTENED != 0)
        if ops:
            self.owner.arrived(self, receiver, list(ops))
        else:
            self._want_due.add(handle)

    def _gap(self, frame: "Frame", now_ms: int) -> None:
        handle, first, next_, cause, term = frame.fields
        receiver = self._receiver(handle)
        op = receiver.on_gap(first, next_, cause, term)
        if op is not None:
            self.owner.arrived(self, receiver, [op])
        else:
            self._want_due.add(handle)

    def _compare(self, frame: "Frame", now_ms: int) -> None:
        if self.reconcilers is None:
            raise ProtocolError("a %s where nothing is compared" % frames.NAMES[frame.type])
        self.reconcilers.take(self, frame)

    def _receiver(self, handle: int) -> "StreamReceiver":
        receiver = self.receivers.get(handle)
        if receiver is None:
            raise ProtocolError("a frame for handle %d before its HAVE" % handle)
        return receiver

    def _want(self, frame: "Frame", now_ms: int) -> None:
        number, have_echo, rows = frame.fields
        offers = self._offers
        offers.unanswered = 0
        for handle, next_, lost, limit, resend, lineage, produced in rows:
            sender = self.outlet.senders.get(handle)
            if sender is None:
                raise ProtocolError("a WANT for handle %d, which was never offered" % handle)
            if len(lost) > LOST_ROWS_MAX or any([len(cause) > CAUSE_CHARS_MAX for cause, _ in lost]):
                raise ProtocolError("a WANT with more or longer causes of loss than a log can remember")
            if max(next_, produced) > OFFSET_MAX:
                raise ProtocolError("a WANT from offset %d of %d; at most %d is allowed" % (next_, produced, OFFSET_MAX))
            progress, have_due, parting = sender.on_want(
                number, have_echo, next_, lost, limit, resend, lineage, produced, offers.number + 1
            )
            if parting is not None:
                self.owner.forked(self, sender, parting)
            if progress:
                self.outlet.confirmed(now_ms)
                offers.confirmed()
            if have_due:
                offers.put_last(sender)

    def _error(self, frame: "Frame", now_ms: int) -> None:
        code, text, away_ms, handle = frame.fields
        sender = self.outlet.senders.get(handle) if handle is not None else None
        if sender is not None:
            sender.refused = text
        else:
            self.state = CLOSED
            self.owner.ended(self, code, text, away_ms)

    def _bye(self, frame: "Frame", now_ms: int) -> None:
        self.state = CLOSED
        self.owner.ended(self, "bye", frame.fields[0], frame.fields[1])

    # What goes out

    def offer(self, log: "Log | FeedSource") -> int:
        """A log that the other side may have. Returns its handle."""
        sender = self.outlet.add(log)
        if self.state == OPEN:
            self._offers.due.append(sender)
        return sender.handle

    def offer_again(self, sender: "StreamSender") -> None:
        """Something about it has changed that the other side has to hear."""
        if self.state == OPEN and sender not in self._offers.due:
            self._offers.due.append(sender)

    def want(self, receiver: "StreamReceiver") -> None:
        """Tell the sender where this receiver is, soon."""
        if self.state == OPEN and self.receivers.get(receiver.handle) is receiver:
            self._want_due.add(receiver.handle)

    def error(self, code: str, text: str, away_ms: int, handle: "int | None" = None) -> None:
        if len(self._outbox) < OUTBOX_MAX:  # what is refused is offered again, and refused again
            self._outbox.append(frames.encode(ERROR, self.id, (code, text[:256], away_ms, handle)))

    def bye(self, text: str, away_ms: int) -> None:
        if self.state == OPEN:
            self._outbox.append(frames.encode(BYE, self.id, (text[:256], away_ms)))

    def next_frame(self, allowed: int, now_ms: int) -> "bytes | memoryview | None":
        """The next frame to carry, or None. It is valid until the next call. allowed: which data may leave: NOTHING, URGENT or ALL."""
        if self._outbox:
            return self._outbox.pop(0)
        if self.state != OPEN:
            return None
        if self._want_due:
            frame = self._want_frame()
            if frame is not None:
                return frame
        if self._offers.due:
            frame = self._offers.next_frame(self.id, self.outlet.frame_bytes_max)
            if frame is not None:
                return frame
        compared = self.reconcilers
        frame = compared.next_state(self.id) if compared is not None else None
        if frame is not None or allowed == NOTHING:
            return frame
        data = self.outlet.next_frame(self.id, now_ms, allowed)
        if data is None and compared is not None and allowed == ALL:
            return compared.next_versions(self.id, self.outlet.frame_bytes_max)
        return data

    def _want_frame(self) -> "bytes | None":
        rows: "list[Any]" = []
        size = 0
        for handle in sorted(self._want_due):
            if len(rows) == WANT_ROWS_MAX or size > self.outlet.frame_bytes_max // 2:
                break
            self._want_due.discard(handle)
            row = self.receivers[handle].want_row()
            if row is not None:
                rows.append(row)
                size += 32 + 24 * len(row[2]) + 16 * len(row[5])
        if not rows:
            return None
        self._want_number += 1
        return frames.encode(WANT, self.id, (self._want_number, self._have_echo, rows))

    def tick(self, now_ms: int) -> int:
        """Repeat what may have been lost. Returns when to come again (monotonic ms), -1 if there is nothing to wait for."""
        if self.state == GREETING:
            if now_ms < self._hello_until_ms:
                return self._hello_until_ms
            self.state = CLOSED
            self.owner.ended(self, "no answer", "the hub did not answer a HELLO", 0)
            return -1
        if self.state != OPEN:
            return -1
        due_ms = self._offers.tick(now_ms)
        if due_ms is None:
            self.state = CLOSED
            self.owner.ended(self, "silent", "%d HAVE were not answered" % self._offers.unanswered, 0)
            return -1
        return due_ms
