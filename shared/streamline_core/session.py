"""One session between two nodes: greeting, then streams both ways, over a carrier that may lose, repeat or reorder frames.

Rule: what a frame means in a state stands in TABLE, and nowhere else. A session has one id, made of both sides' random nonces; a frame
with another id never reaches it. Knows nothing of who carries the frames, nor of what its owner does with what arrives.
"""

import hashlib

from . import frames
from .backoff import jitter
from .batch import OFFSET_MAX
from .errors import ProtocolError
from .frames import BYE, DATA, DIFF, ERROR, GAP, HAVE, HELLO, STATE, WANT, WELCOME
from .hlc import WALL_MS_MAX
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


EDGE = 0
HUB = 1

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
HAVE_INTERVAL_MS = 1000
HAVE_INTERVAL_MS_MAX = 15000
HUB_HAVE_INTERVAL_MS_MAX = 120000  # to a node that does not answer, and of which nobody says that it has gone
HAVES_UNANSWERED_MAX = 5
HELLO_ANSWER_MS = 2000
LOST_ROWS_MAX = 32
CAUSE_CHARS_MAX = 32


class Identity:
    """Who we are in a greeting. role: EDGE or HUB; storage_id: 8 bytes, of our data directory; raw_bytes_max: of what a DATA frame to
    us may hold when decompressed."""

    def __init__(self, node_id: str, role: int, storage_id: bytes, frame_bytes_max: int, raw_bytes_max: int, software: str) -> None:
        self.node_id = node_id
        self.role = role
        self.storage_id = storage_id
        self.frame_bytes_max = frame_bytes_max
        self.raw_bytes_max = raw_bytes_max
        self.software = software


class Peer:
    """Who the other side says it is."""

    def __init__(self, fields: "Any") -> None:
        self.node_id: str = fields[1]
        self.role: int = fields[2]
        self.storage_id: bytes = fields[4]
        self.codecs: "list[str]" = fields[5]
        self.frame_bytes_max: int = fields[6]
        self.raw_bytes_max: int = fields[7]
        self.software: str = fields[9]


def session_id(hello_nonce: bytes, welcome_nonce: bytes) -> bytes:
    """The first 8 bytes of SHA-256("streamline session" + both nonces)."""
    return hashlib.sha256(b"streamline session" + hello_nonce + welcome_nonce).digest()[: frames.ID_BYTES]


def have_row(sender: "StreamSender") -> "tuple[Any, ...]":
    """A sender's part of a HAVE: its handle, where it stands, and what it is."""
    log = sender.log
    stream = log.stream
    return (
        sender.handle, log.first, log.durable, max(sender.sent, log.acked) if sender.wanted else 0,
        stream.topic, stream.partition, stream.origin, stream.epoch,
        log.definition, sender.lineage(), log.epochs_held, log.sealed and not log.forking,
    )  # fmt: skip


class Session:
    """me: who we are; read_buffer: where DATA frames are built (at least our largest batch + 24 bytes)."""

    def __init__(self, me: Identity, owner: "Owner", codecs: "Codecs", entropy: "Entropy", read_buffer: bytearray) -> None:
        self.me = me
        self.owner = owner
        self.codecs = codecs
        self.state = IDLE
        self.id = frames.NO_SESSION
        self.peer: "Peer | None" = None
        self.wall_ms: "int | None" = None  # the hub's clock as of its WELCOME
        self.round_trip_ms = -1
        self.outlet = Outlet(read_buffer)
        self.receivers: "dict[int, StreamReceiver]" = {}
        self.reconcilers: "Reconcilers | None" = None  # of keyed topics
        self.refused_frames = 0
        self._entropy = entropy
        self._nonce = b""
        self._outbox: "list[bytes]" = []
        self._want_due: "set[int]" = set()
        self._want_number = 0
        self._have_number = 0
        self._have_echo = 0
        self._have_at_ms = -1
        self._have_interval_ms = HAVE_INTERVAL_MS
        self._have_rows: "list[StreamSender]" = []
        self._unanswered = 0
        self._greeted_ms = 0
        self._hello_until_ms = -1

    # Greeting

    def _greeting(self) -> "tuple[Any, ...]":
        buf = bytearray(frames.ID_BYTES)
        self._entropy.fill(buf)
        self._nonce = bytes(buf)
        me = self.me
        return (
            frames.PROTOCOL_VERSION, me.node_id, me.role, self._nonce, me.storage_id, self.codecs.names + (frames.DIFFERENCE,),
            me.frame_bytes_max, me.raw_bytes_max, (), me.software,
        )  # fmt: skip

    def greet(self, now_ms: int) -> None:
        """As the one who dials: say HELLO. If nobody answers, the owner hears of it."""
        self.state = GREETING
        self._greeted_ms = now_ms
        self._hello_until_ms = now_ms + HELLO_ANSWER_MS + jitter(self._entropy, HELLO_ANSWER_MS)
        self._outbox = [frames.encode(HELLO, frames.NO_SESSION, self._greeting())]

    def answer(self, hello: "Frame", wall_ms: "int | None") -> None:
        """As the one who was dialled: answer a HELLO with WELCOME. Raises ProtocolError for a version we do not speak."""
        self._check(hello.fields)
        fields = self._greeting()
        self.id = session_id(hello.fields[3], self._nonce)
        self.state = GREETED
        self._outbox = [frames.encode(WELCOME, self.id, fields + (hello.fields[3], wall_ms))]

    def _check(self, fields: "Any") -> None:
        if fields[0] != frames.PROTOCOL_VERSION:
            raise ProtocolError("protocol version %d; this build speaks %d" % (fields[0], frames.PROTOCOL_VERSION))
        if len(fields[3]) != frames.ID_BYTES or not frames.FRAME_BYTES_MIN <= fields[6] <= frames.FRAME_BYTES_MAX:
            raise ProtocolError("a greeting with a nonce of %d bytes and frames of %d" % (len(fields[3]), fields[6]))
        self.peer = Peer(fields)
        limit = min(fields[6], self.me.frame_bytes_max)
        self.outlet.shortens = frames.DIFFERENCE in fields[5]
        self.outlet.agree(self.codecs.choose(fields[5]), limit, min(fields[7], frames.RAW_BYTES_MAX))

    def _welcome(self, frame: "Frame", now_ms: int) -> None:
        fields = frame.fields
        if fields[10] != self._nonce or frame.session != session_id(self._nonce, fields[3]):
            raise ProtocolError("a WELCOME that answers another HELLO")
        if fields[11] is not None and fields[11] >= WALL_MS_MAX:
            raise ProtocolError("a WELCOME that says it is %d ms since 1970" % fields[11])
        self._check(fields)
        self.id = frame.session
        self.wall_ms = fields[11]
        self.round_trip_ms = now_ms - self._greeted_ms
        self._open()
        self._offer_all(now_ms)
        if not self._have_rows:
            self._outbox.append(frames.encode(HAVE, self.id, (self._next_have(), ())))

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
        self._unanswered = 0
        for handle, next_, lost, limit, resend, lineage, produced in rows:
            sender = self.outlet.senders.get(handle)
            if sender is None:
                raise ProtocolError("a WANT for handle %d, which was never offered" % handle)
            if len(lost) > LOST_ROWS_MAX or any([len(cause) > CAUSE_CHARS_MAX for cause, _ in lost]):
                raise ProtocolError("a WANT with more or longer causes of loss than a log can remember")
            if max(next_, produced) > OFFSET_MAX:
                raise ProtocolError("a WANT from offset %d of %d; at most %d is allowed" % (next_, produced, OFFSET_MAX))
            progress, have_due, parting = sender.on_want(
                number, have_echo, next_, lost, limit, resend, lineage, produced, self._have_number + 1
            )
            if parting is not None:
                self.owner.forked(self, sender, parting)
            if progress:
                self.outlet.confirmed(now_ms)
                self._have_interval_ms = HAVE_INTERVAL_MS
                self._have_at_ms = -1
            if have_due:
                self._have_rows = [row for row in self._have_rows if row is not sender] + [sender]

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
            self._have_rows.append(sender)
        return sender.handle

    def offer_again(self, sender: "StreamSender") -> None:
        """Something about it has changed that the other side has to hear."""
        if self.state == OPEN and sender not in self._have_rows:
            self._have_rows.append(sender)

    def _offer_all(self, now_ms: int) -> None:
        self._have_rows = [sender for sender in self.outlet.senders.values() if sender.refused is None]
        self._unanswered += 1
        self._have_at_ms = -1

    def _next_have(self) -> int:
        self._have_number += 1
        return self._have_number

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
        if self._have_rows:
            frame = self._have_frame()
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

    def _have_frame(self) -> "bytes | None":
        """A HAVE with as many rows as fit; the rest follows in another one. A log that was just opened waits until it is settled: one that
        seems to end before what was told of it is taken for a lost tail, and what it holds is sent to it as if it were new."""
        rows: "list[Any]" = []
        due = [sender for sender in self._have_rows if sender.log.settled]
        if not due:
            return None
        number, size = self._next_have(), 0
        while due and (not rows or size < self.outlet.frame_bytes_max // 2):
            sender = due.pop(0)
            self._have_rows.remove(sender)
            sender.offered()
            row = have_row(sender)
            rows.append(row)
            size += 96 + 14 * len(row[9]) + 6 * len(row[10] or ()) + len(row[4]) + len(row[6])
        return frames.encode(HAVE, self.id, (number, rows))

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
        if not any([sender.pending for sender in self.outlet.senders.values()]):
            self._have_at_ms = -1
            self._have_interval_ms = HAVE_INTERVAL_MS
            self._unanswered = 0
            return -1
        if self._have_at_ms < 0:
            half_ms = self._have_interval_ms // 2
            self._have_at_ms = now_ms + half_ms + jitter(self._entropy, half_ms)
        elif now_ms >= self._have_at_ms:
            # A hub goes on: who only listens would never learn that his session has ended.
            if self._unanswered >= HAVES_UNANSWERED_MAX and self.me.role != HUB:
                self.state = CLOSED
                self.owner.ended(self, "silent", "%d HAVE were not answered" % self._unanswered, 0)
                return -1
            waiting = self._have_rows
            self._have_rows = [sender for sender in self.outlet.senders.values() if sender.pending or sender in waiting]
            self._unanswered += 1
            most = HAVE_INTERVAL_MS_MAX if self.me.role != HUB else HUB_HAVE_INTERVAL_MS_MAX
            self._have_interval_ms = min(self._have_interval_ms * 2, most)
            self._have_at_ms = now_ms + self._have_interval_ms // 2 + jitter(self._entropy, self._have_interval_ms // 2)
        return self._have_at_ms
