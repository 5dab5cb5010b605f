"""The node's link over a serial line: packets to a gateway, which carries them to and from the broker and opens none.

Rule: whatever is lost on the line costs another try; nothing is believed of a gateway that does not answer this life of the board.
At most one packet waits to be written. Must not know: what is in a frame, what kind of line it is.
"""

from streamline_core import serial_packets as packets
from streamline_core.errors import ProtocolError, UsageError
from streamline_core.serial_framing import PacketReader, encode_into, packet_bytes

from .carrier import Carrier
from .serial_stream import Line


class SerialLink(Carrier):
    """config: an EdgeConfig whose cloud_endpoint is a line; the others are a Carrier's. line: in place of the one that is named there, an
    object with `open`, `baud` and `reopens` as a Line has them.

    reader: counts packets that came, and those `refused` as damaged.
    """

    def __init__(self, config, node, clock, entropy, poll, line=None):
        super().__init__(config, node, clock, entropy, poll, config.cloud_endpoint)
        self._line = line or Line(config.cloud_endpoint)
        payload_bytes = max(config.frame_bytes_max, packets.CONTROL_BYTES_MAX)
        most = packets.payload_bytes_of(self._line.baud) if self._line.baud else payload_bytes
        if payload_bytes > most:
            raise UsageError("frame_bytes_max: %d bytes take too long at %d baud; use at most %d, or a faster line"
                             % (payload_bytes, self._line.baud, most))
        if line is None:
            self._line.check()
        self.reader = PacketReader(payload_bytes)
        self._packet = bytearray(packet_bytes(payload_bytes))  # the one that is being written
        self._packet_view = memoryview(self._packet)
        self._at = self._end = 0  # what of it is still to be written
        number = bytearray(3)
        entropy.fill(number)
        self._life = int.from_bytes(number, "little") + 1
        self._greeting = packets.encode_greeting(packets.Greeting(self._life, config.node_id, config.fleet, payload_bytes))
        self._greet_at_ms = 0
        self._heard_ms = -1  # when the last packet came; -1: the gateway is not there
        self._connection = 0  # of the gateway's, by which frames go
        self._hub = None  # what was said last of the hub on it

    def _begin(self, now_ms):
        return self._line.open()

    def _begun(self, now_ms):
        self.reader.clear()
        self._at = self._end = 0
        self._greet_at_ms = now_ms

    def _over(self, now_ms):
        self._heard_ms = -1
        self._connection = 0

    def _shut(self):
        # A UART has no close.
        self._stream.close() if hasattr(self._stream, "close") else self._stream.deinit()

    def _due_ms(self, now_ms):
        if self._heard_ms < 0:
            return self._greet_at_ms
        return min(self._greet_at_ms, self._heard_ms + packets.SILENT_MS)

    def close(self):
        """The gateway learns it from the silence; what is in the UART's own buffer still goes."""
        if self._stream is not None:
            self._shut()

    def counters(self):
        return {"packets": self.reader.packets, "packets_refused": self.reader.refused}

    # From the line

    def _room(self):
        return self.reader.room()

    def _arrived(self, count, now_ms):
        if not count:
            if self._line.reopens:
                raise OSError("closed by the gateway")
            return False  # some lines say so that nothing came
        self.reader.filled(count)
        while True:
            kind = self.reader.next_packet()
            if not kind:
                return True
            try:
                self._take(kind, self.reader.payload, now_ms)
            except ProtocolError:
                self.reader.refused += 1  # whole, and yet nothing we understand

    def _take(self, kind, payload, now_ms):
        if kind == packets.STATE:
            self._state(packets.decode_state(payload), now_ms)
        elif self._connection:  # else it is for a board that was here before
            self._heard_ms = now_ms
            if kind == packets.FRAME:
                self._node.link.receive(payload)
            elif kind == packets.ASK:
                self._asked(payload)

    def _state(self, said, now_ms):
        if said.life != self._life:  # it has started anew, or talks to somebody else
            self._cut("the gateway does not know this board yet", now_ms)
            self._greet_at_ms = now_ms
            return
        self._heard_ms = self._greet_at_ms = now_ms  # one greeting for each STATE shows that we live
        if said.connection != self._connection:
            self._cut(_why(said), now_ms)
            self._heard_ms = now_ms
            self._connection = said.connection
            if said.connection:
                self._hub = None
                self._up(now_ms)
        elif not said.connection:
            self._down(_why(said))
        if self._connection and said.online is not None and self._hub != (said.online, said.boot):
            self._hub = (said.online, said.boot)
            self._node.link.hub_status(said.online, said.boot)

    def _cut(self, reason, now_ms):
        self._heard_ms = -1
        if self._connection:
            self._connection = 0
            self._backoff.down(now_ms)
        self._down(reason)

    def _tick(self, now_ms):
        if self._heard_ms >= 0 and now_ms - self._heard_ms >= packets.SILENT_MS:
            reason = "nothing was heard on the line for %d s" % (packets.SILENT_MS // 1000)
            if self._line.reopens:
                raise OSError(reason)
            self._cut(reason, now_ms)
            self._greet_at_ms = now_ms

    # To the line

    def _next_bytes(self):
        if self._at == self._end:
            self._at = 0
            self._end = self._next_packet()
            if not self._end:
                return None
        return self._packet_view[self._at : self._end]

    def _next_packet(self):
        now_ms = self._clock.monotonic_ms()
        if now_ms >= self._greet_at_ms:
            # To be said again soon, until a STATE has come; then that says when.
            self._greet_at_ms = now_ms + (packets.GREET_MS if self._heard_ms < 0 else packets.SILENT_MS)
            return encode_into(packets.GREETING, self._greeting, self._packet)
        if not self._connection:
            return 0
        payload = self._next_piece()
        if payload is not None:
            return encode_into(packets.SAY, payload, self._packet)
        payload = self._next_frame()
        return encode_into(packets.FRAME, payload, self._packet) if payload is not None else 0

    def _written(self, count):
        self._at += count


def _why(said):
    """Why a STATE ends what was before."""
    return "the gateway: %s" % (said.reason or ("it has connected anew" if said.connection else "no connection"))
