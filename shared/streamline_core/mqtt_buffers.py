"""The two ends of an MQTT connection as bytes: whole packets out of pieces, and pieces of packets to be written.

Rule: memory is bounded and little is copied. A packet that lies whole in the bytes of the shell is read there; one in
pieces is gathered in a buffer made once. What goes out is borrowed until it is written.
Must not know: what the packets mean, connections, or time.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .codec import Buffer

from .errors import ProtocolError, UsageError
from .mqtt_packets import LENGTH_BYTES_MAX

ACK_BYTES_MAX = 2048
"""Acknowledgements waiting to be sent; a peer that makes more and reads none is dropped."""


PUBLISH_BITS, PUBLISH_QOS_0 = 0xF6, 0x30  # of a packet's first byte: its type, and the two bits of its quality of service


class Inbox:
    """Bytes from the peer, taken packet by packet (section 2.2)."""

    def __init__(self, packet_bytes_max: int) -> None:
        self._packet = memoryview(bytearray(packet_bytes_max))  # one packet that came in pieces
        self.clear()

    def clear(self) -> None:
        """Forget all that was received."""
        self._held = 0  # bytes of the packet in pieces
        self._passed_over = 0  # bytes still to come of one that is not taken
        self._input = memoryview(b"")  # the shell's bytes, and how far they are taken
        self._at = 0

    def put(self, data: "Buffer") -> None:
        """Borrow ``data`` until ``take`` has returned None. Raises UsageError while earlier bytes are left."""
        if self._at < len(self._input):
            raise UsageError("take all events before the next receive")
        self._input = memoryview(data)
        self._at = 0

    def take(self) -> "Optional[memoryview]":
        """Return the next whole packet, valid until the next ``take`` or ``put``, or None until more bytes come.

        A message that is longer than the buffer, and that nobody waits to see acknowledged, is passed over: whoever may send us one must
        not be able to cut us off. Raises ProtocolError for another packet that is longer, or a length of more than 4 bytes.
        """
        while True:
            if self._passed_over:
                count = min(self._passed_over, len(self._input) - self._at)
                self._at += count
                self._passed_over -= count
            if self._at == len(self._input):
                return None
            if self._held == 0:
                whole = self._packet_bytes(self._input[self._at :])
                if whole > len(self._packet):
                    self._passed_over = whole
                    continue
                if whole and whole <= len(self._input) - self._at:
                    self._at += whole
                    return self._input[self._at - whole : self._at]
            whole = self._packet_bytes(self._packet[: self._held])
            if whole > len(self._packet):
                self._passed_over, self._held = whole - self._held, 0
                continue
            count = min(whole - self._held if whole else 1, len(self._input) - self._at)
            self._packet[self._held : self._held + count] = self._input[self._at : self._at + count]
            self._held += count
            self._at += count
            if self._held == (whole or self._packet_bytes(self._packet[: self._held])):
                whole = self._held
                self._held = 0
                return self._packet[:whole]

    def _packet_bytes(self, data: memoryview) -> int:
        # The length of the packet that data begins, header included; 0 while that cannot be told.
        length = 0
        for at in range(1, 1 + LENGTH_BYTES_MAX):
            if at >= len(data):
                return 0
            length |= (data[at] & 127) << 7 * (at - 1)
            if data[at] < 128:
                if length + at + 1 > len(self._packet) and data[0] & PUBLISH_BITS != PUBLISH_QOS_0:
                    raise ProtocolError("MQTT packet longer than %d bytes" % len(self._packet))
                return length + at + 1
        raise ProtocolError("MQTT length of more than 4 bytes")


class Outbox:
    """Packets for the peer, written in pieces of any size."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all that is unsent."""
        self._chunks: "list[Buffer]" = []  # pieces of packets, the first of them sent up to _sent
        self._sent = 0
        self._acks = bytearray()  # acknowledgements that no place between two packets was found for yet
        self.unsent_bytes = 0

    def __len__(self) -> int:
        return len(self._chunks)

    def put(self, head: "Buffer", payload: "Buffer" = b"") -> None:
        """Borrow a packet in one or two pieces. The caller keeps the bound on their number."""
        self._put_acks()
        self._chunks.append(head)
        if len(payload):
            self._chunks.append(payload)
        self.unsent_bytes += len(head) + len(payload)

    def put_ack(self, ack: bytes) -> None:
        """Queue an acknowledgement, many in one piece. Raises ProtocolError beyond ACK_BYTES_MAX of them."""
        if len(self._acks) + len(ack) > ACK_BYTES_MAX:
            raise ProtocolError("the peer does not read its acknowledgements")
        self._acks.extend(ack)
        self.unsent_bytes += len(ack)

    def _put_acks(self) -> None:
        # Only between packets: a payload follows its head at once.
        if self._acks:
            self._chunks.append(self._acks)
            self._acks = bytearray()

    def next_piece(self) -> "Optional[memoryview]":
        """Return the next bytes to write, or None."""
        if not self._chunks:
            self._put_acks()
            if not self._chunks:
                return None
        return memoryview(self._chunks[0])[self._sent :]

    def sent(self, count: int) -> None:
        """Note that the first ``count`` bytes of the last ``next_piece`` are written; nothing if all was cleared since.

        Raises UsageError for more than there was.
        """
        if not self._chunks:
            return
        length = len(self._chunks[0])
        if not 0 <= count <= length - self._sent:
            raise UsageError("more sent than there was")
        self._sent += count
        self.unsent_bytes -= count
        if self._sent == length:
            self._chunks.pop(0)
            self._sent = 0
