"""A small MQTT 3.1.1 client without I/O, for targets where no other one can run. QoS 0 and 1.

Rule: bytes and the time in, events and bytes out. The shell opens the socket, then calls ``connect``; hands what it
reads to ``receive`` and takes events until there are none; writes ``data_to_send`` and says how much went by ``sent``;
calls ``tick`` when ``deadline_ms`` has come. Any bytes give events or a ProtocolError, after which the connection is
over. Memory is bounded: one buffer for one incoming packet, made at construction; what goes out is borrowed, not
copied.
Must not know: sockets, TLS, names of hosts, waits between attempts, or what payloads mean.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Union

    from .codec import Buffer

    # ("connected", session_present) ("refused", code) ("lost", reason) ("published", packet_id)
    # ("subscribed", packet_id, codes) ("message", topic, payload, qos, retain)
    Event = tuple[Any, ...]

from . import mqtt_packets as packets
from .errors import ProtocolError, QueueFull, UsageError
from .mqtt_buffers import Inbox, Outbox
from .utf8 import encode_utf8

INFLIGHT_MAX = 8
"""QoS 1 messages sent or waiting that the broker has not acknowledged."""
SUBSCRIBES_MAX = 16
"""Subscriptions asked for and not yet answered."""
OUT_CHUNKS_MAX = 32
"""Pieces of unsent packets (a message is two) beyond which nothing new is taken."""
CONNECT_TIMEOUT_MS = 20000
"""From ``connect`` to the broker's answer."""

CLOSED = 0  # no connection, or one that is over
CONNECTING = 1  # CONNECT is on its way
CONNECTED = 2
CLOSING = 3  # DISCONNECT is on its way; what comes in no longer counts

# What a broker may send: packet type -> (in which state, fewest and most bytes after the fixed header, who takes it).
# Whatever is not here (QoS 2, packets of clients, reserved flags) is the peer's fault. Only PUBLISH has flags of its
# own.
_UNBOUNDED = packets.REMAINING_MAX
_TAKES = {
    packets.CONNACK: (CONNECTING, 2, 2, "_take_connack"),
    packets.PUBLISH: (CONNECTED, 3, _UNBOUNDED, "_take_publish"),
    packets.PUBACK: (CONNECTED, 2, 2, "_take_puback"),
    packets.SUBACK: (CONNECTED, 3, 3, "_take_suback"),
    packets.PINGRESP: (CONNECTED, 0, 0, "_take_pingresp"),
}


class MqttClient:
    """One client of one broker, across any number of connections."""

    def __init__(
        self,
        client_id: str,
        keepalive_secs: int,
        username: "Optional[str]" = None,
        password: "Union[bytes, str, None]" = None,
        will: "Optional[tuple[str, Buffer, int, bool]]" = None,
        clean_session: bool = True,
        packet_bytes_max: int = 65536 + 256,
    ) -> None:
        """``keepalive_secs``: 0 (never ping) to 65535. ``will``: topic, payload (at most 65535 bytes), QoS 0 or 1,
        retain.

        ``packet_bytes_max`` (at least 128): the longest packet in either direction; the buffer for incoming ones is
        that long. Raises UsageError for what MQTT cannot say.
        """
        if packet_bytes_max < 128:
            raise UsageError("packet_bytes_max is at least 128")
        if isinstance(password, str):
            password = encode_utf8(password)
        self._connect_args = (client_id, keepalive_secs, username, password, will, clean_session)
        packets.connect_packet(*self._connect_args)  # raise now rather than at the first connection
        self.state = CLOSED
        self._keepalive_ms = keepalive_secs * 1000
        self._clean_session = clean_session
        self._packet_bytes_max = packet_bytes_max
        self._inbox = Inbox(packet_bytes_max)
        self._outbox = Outbox()
        self._inflight: "list[tuple[int, bytearray, Buffer]]" = []  # packet id, head, payload: oldest first
        self._subscribes: "list[int]" = []
        self._last_id = 0
        self._lost: "Optional[str]" = None
        self._ping_due_ms = 0
        self._answer_due_ms: "Optional[int]" = None

    # -- the connection

    def connect(self, now_ms: int) -> None:
        """Begin a connection on a socket just opened. Raises UsageError while another one lasts."""
        if self.state in (CONNECTING, CONNECTED):
            raise UsageError("already connected")
        self._reset(CONNECTING)
        self._lost = None
        self._outbox.put(packets.connect_packet(*self._connect_args))
        self._answer_due_ms = now_ms + CONNECT_TIMEOUT_MS

    def disconnect(self) -> None:
        """Say goodbye, so that the broker keeps the will to itself; close the socket when ``unsent_bytes`` is 0."""
        if self.state == CONNECTED:
            self._outbox.put(packets.DISCONNECT)
            self._inbox.clear()
            self.state = CLOSING
            self._answer_due_ms = None
        elif self.state == CONNECTING:
            self._reset(CLOSED)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted this connection and it still lasts."""
        return self.state == CONNECTED

    def _reset(self, state: int) -> None:
        if self.state == CONNECTED or self.state == CLOSING:
            for _, head, _ in self._inflight:  # next time they are sent again, section 3.3.1.1
                head[0] |= packets.DUP
        self.state = state
        self._inbox.clear()
        self._outbox.clear()
        self._subscribes = []
        self._answer_due_ms = None

    def _lose(self, reason: str) -> None:
        if self.state != CLOSED:
            if self.state != CLOSING:
                self._lost = reason
            self._reset(CLOSED)

    # -- time

    def deadline_ms(self, now_ms: int) -> "Optional[int]":
        """Return when ``tick`` wants to be called (monotonic ms, perhaps past), or None for never."""
        if self.state == CONNECTED and self._keepalive_ms and self._answer_due_ms is None:
            return self._ping_due_ms
        return self._answer_due_ms

    def tick(self, now_ms: int) -> None:
        """Do what time demands: a ping every half keepalive, and "lost" when half a keepalive brought no answer.

        A ping is due whatever else is sent (section 3.1.2.10 asks for any packet within a keepalive): our own QoS 0
        messages draw no answer, so nothing else would tell that the broker is gone.
        """
        if self._answer_due_ms is not None:
            if now_ms >= self._answer_due_ms:
                self._lose("no answer to CONNECT" if self.state == CONNECTING else "no answer to a ping")
        elif self.state == CONNECTED and self._keepalive_ms and now_ms >= self._ping_due_ms:
            self._outbox.put(packets.PINGREQ)
            self._ping_due_ms = now_ms + self._keepalive_ms // 2
            self._answer_due_ms = self._ping_due_ms

    # -- bytes in

    def receive(self, data: "Buffer", now_ms: int) -> None:
        """Take bytes that came, in pieces of any size; empty ``data`` says that the peer has closed.

        ``data`` is borrowed until ``next_event`` has returned None, which it must have done before the next call: else
        UsageError. Bytes for a connection that is over are dropped.
        """
        if not len(data):
            self._lose("closed by the peer")
        if self.state == CLOSED or self.state == CLOSING:
            return
        self._inbox.put(data)
        if self.state == CONNECTING:
            self._ping_due_ms = now_ms + self._keepalive_ms // 2
        elif self._answer_due_ms is not None:  # a slow link that brings anything is alive
            self._answer_due_ms = max(self._answer_due_ms, now_ms + self._keepalive_ms // 2)

    def next_event(self) -> "Optional[Event]":
        """Return what happened next, or None when the bytes received so far say no more.

        ("connected", session_present); ("refused", code), section 3.2.2.3; ("lost", reason); ("published", packet_id):
        the broker has it; ("subscribed", packet_id, codes): bytes, 0x80 is a refusal; ("message", topic, payload, qos,
        retain): payload is a memoryview, valid until the next call of ``next_event`` or ``receive``; a QoS 1 message
        may come again after a reconnect. Raises ProtocolError when the peer breaks the standard or our bounds: the
        connection is over then (no "lost" follows), and the shell closes its socket.
        """
        while True:
            if self._lost is not None:
                reason = self._lost
                self._lost = None
                return ("lost", reason)
            try:
                body = self._inbox.take()
                if body is None:
                    return None
                event = self._take(body)
            except ProtocolError:
                self._reset(CLOSED)
                raise
            if event is not None:
                return event

    def _take(self, whole: memoryview) -> "Optional[Event]":
        first = whole[0]
        at = 2
        while whole[at - 1] > 127:
            at += 1
        body = whole[at:]
        kind = packets.PUBLISH if first & 0xF0 == packets.PUBLISH else first
        if kind not in _TAKES:
            raise ProtocolError("unexpected MQTT packet 0x%02x" % first)
        state, least, most, name = _TAKES[kind]
        if state != self.state or not least <= len(body) <= most:
            raise ProtocolError("MQTT packet 0x%02x out of place or of a wrong length" % first)
        event: "Optional[Event]" = getattr(self, name)(first, body)
        return event

    def _take_connack(self, first: int, body: memoryview) -> "Event":
        present, code = body[0], body[1]
        if present > 1 or code > 5 or (present and (code or self._clean_session)):
            raise ProtocolError("MQTT CONNACK %d %d" % (present, code))
        if code:
            self._reset(CLOSED)
            return ("refused", code)
        self.state = CONNECTED
        self._answer_due_ms = None
        for _, head, payload in self._inflight:
            self._outbox.put(head, payload)
        return ("connected", present == 1)

    def _take_publish(self, first: int, body: memoryview) -> "Event":
        qos = first >> 1 & 3
        if qos > 1 or (not qos and first & packets.DUP):
            raise ProtocolError("MQTT PUBLISH flags 0x%02x" % first)
        at = 2 + (body[0] << 8 | body[1])
        end = at + 2 * qos
        if end > len(body):
            raise ProtocolError("MQTT PUBLISH cut short")
        topic = packets.take_topic(body[2:at])
        if qos:
            packet_id = body[at] << 8 | body[at + 1]
            if not packet_id:
                raise ProtocolError("MQTT packet id 0")
            self._outbox.put_ack(packets.puback_packet(packet_id))
        return ("message", topic, body[end:], qos, first & packets.RETAIN != 0)

    def _take_puback(self, first: int, body: memoryview) -> "Optional[Event]":
        packet_id = body[0] << 8 | body[1]
        for at, message in enumerate(self._inflight):
            if message[0] == packet_id:
                self._inflight.pop(at)
                return ("published", packet_id)
        return None  # told twice: harmless

    def _take_suback(self, first: int, body: memoryview) -> "Optional[Event]":
        packet_id = body[0] << 8 | body[1]
        if body[2] > 1 and body[2] != 0x80:
            raise ProtocolError("MQTT SUBACK code 0x%02x" % body[2])
        if packet_id not in self._subscribes:
            return None
        self._subscribes.remove(packet_id)
        return ("subscribed", packet_id, bytes(body[2:]))

    def _take_pingresp(self, first: int, body: memoryview) -> None:
        self._answer_due_ms = None

    # -- bytes out

    def publish(self, topic: str, payload: "Buffer", qos: int = 0, retain: bool = False) -> int:
        """Send a message; return its packet id (1 to 65535) for QoS 1, 0 for QoS 0.

        ``payload`` is borrowed, not copied: leave it as it is until ``unsent_bytes`` is 0 (QoS 0) or ("published", id)
        (QoS 1). A QoS 1 message is kept, and sent again by the next connection, until then; it may be handed over
        before there is one. Raises QueueFull when it cannot be taken now (QoS 0: not connected; too much unsent;
        INFLIGHT_MAX unacknowledged), UsageError for a wrong topic or QoS, or a packet longer than
        ``packet_bytes_max``.
        """
        packet_id = self._free_id() if qos else 0
        head = packets.publish_head(topic, packet_id, len(payload), qos, retain)
        if len(head) + len(payload) > self._packet_bytes_max:
            raise UsageError("MQTT packet longer than %d bytes" % self._packet_bytes_max)
        if len(self._outbox) >= OUT_CHUNKS_MAX or (not qos and self.state != CONNECTED):
            raise QueueFull(
                "MQTT: %d pieces unsent" % len(self._outbox) if len(self._outbox) else "MQTT: not connected"
            )
        if qos:
            if len(self._inflight) >= INFLIGHT_MAX:
                raise QueueFull("MQTT: %d messages unacknowledged" % INFLIGHT_MAX)
            self._inflight.append((packet_id, head, payload))
            self._last_id = packet_id
        if self.state == CONNECTED:
            self._outbox.put(head, payload)
        return packet_id

    def subscribe(self, topic_filter: str, qos: int = 0) -> int:
        """Ask for messages; return the packet id that ("subscribed", id, codes) will bear.

        A connection that said ``session_present`` False has forgotten earlier ones. Raises QueueFull when not
        connected or SUBSCRIBES_MAX are unanswered, UsageError for a wrong filter or QoS, or one longer than
        ``packet_bytes_max``.
        """
        packet_id = self._free_id()
        packet = packets.subscribe_packet(packet_id, topic_filter, qos)
        if len(packet) > self._packet_bytes_max:
            raise UsageError("MQTT packet longer than %d bytes" % self._packet_bytes_max)
        if self.state != CONNECTED or len(self._subscribes) >= SUBSCRIBES_MAX or len(self._outbox) >= OUT_CHUNKS_MAX:
            raise QueueFull("MQTT: not connected, or too many subscriptions unanswered")
        self._subscribes.append(packet_id)
        self._last_id = packet_id
        self._outbox.put(packet)
        return packet_id

    def _free_id(self) -> int:
        used = self._subscribes + [message[0] for message in self._inflight]
        packet_id = self._last_id % 65535 + 1
        while packet_id in used:
            packet_id = packet_id % 65535 + 1
        return packet_id

    @property
    def unsent_bytes(self) -> int:
        """Bytes of packets that wait to be written."""
        return self._outbox.unsent_bytes

    def data_to_send(self) -> "Optional[memoryview]":
        """Return the next bytes to write, or None; say how many of them went by ``sent``."""
        return self._outbox.next_piece()

    def sent(self, count: int) -> None:
        """Note that the first ``count`` bytes of the last ``data_to_send`` are written.

        Does nothing when a loss has emptied the queue meanwhile. Raises UsageError for more than there was.
        """
        self._outbox.sent(count)
