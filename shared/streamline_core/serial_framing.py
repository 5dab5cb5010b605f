"""Packets on a byte line that loses, garbles and inserts bytes: COBS between zeros, with a kind and a CRC-32.

Rule: whatever bytes come, what is given out is a packet as it was sent, and memory is bounded; a damaged one is dropped, counted, and over
at the next zero. Work goes by runs, in place, in buffers made once: a board has no time to touch each byte.
Source: Cheshire and Baker, "Consistent Overhead Byte Stuffing" (IEEE/ACM Transactions on Networking, 1999).
Must not know: what a packet says, who is at the other end, time.
"""

import binascii
import struct

from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .codec import Buffer

RUN_BYTES_MAX = 254
"""Bytes other than zero that one code byte can stand before."""
CRC_BYTES = 4
BODY_BYTES_MIN = 1 + CRC_BYTES
_FULL = RUN_BYTES_MAX + 1
_DELIMITER = b"\0"


def packet_bytes(payload_bytes: int) -> int:
    """The most bytes that a packet of such a payload takes on the line, both its zeros included."""
    body = payload_bytes + BODY_BYTES_MIN
    return body + (body - 1) // RUN_BYTES_MAX + 3


def encode_into(kind: int, payload: "Buffer", buf: bytearray) -> int:
    """Write a packet to the beginning of `buf`, and return how many bytes it takes.

    kind: 1 to 255. Raises UsageError if `buf` has fewer than `packet_bytes(len(payload))` bytes.
    """
    size = len(payload)
    if packet_bytes(size) > len(buf):
        raise UsageError("a packet of %d bytes does not fit a buffer of %d" % (size, len(buf)))
    view = memoryview(buf)
    # The body lies so far behind its place that each code byte that has to be inserted finds room: a run is moved once at the most.
    gap = (size + CRC_BYTES) // RUN_BYTES_MAX
    first = 2 + gap
    end = first + 1 + size
    buf[first] = kind
    view[first + 1 : end] = payload
    struct.pack_into("<I", buf, end, binascii.crc32(view[first:end]))
    end += CRC_BYTES
    buf[0] = 0
    at = 1  # what stands before it is done
    code = begin = first - 1  # the place of a code byte; where that begins which is not moved yet
    while True:
        zero = buf.find(_DELIMITER, code + 1, min(code + _FULL, end))
        if zero >= 0:  # becomes the code byte of what follows it
            buf[code] = zero - code
            code = zero
            continue
        last = code + _FULL >= end
        stop = end if last else code + _FULL
        buf[code] = stop - code
        if at != begin:
            view[at : at + stop - begin] = view[begin:stop]
        at += stop - begin
        if last:
            buf[at] = 0
            return at + 1
        code = begin = stop - 1  # its byte has moved on: there is room for a code


class PacketReader:
    """payload_bytes_max: of the longest packet that is taken.

    Read from the line into `room()`, say how much by `filled`, then take packets by `next_packet` until there is none.
    payload: of the last packet, until the next call of any method. packets: taken; refused: dropped as damaged or too long.
    """

    def __init__(self, payload_bytes_max: int) -> None:
        self.packets = 0
        self.refused = 0
        self.payload = memoryview(b"")
        self._payload_bytes_max = payload_bytes_max
        self._buf = bytearray(packet_bytes(payload_bytes_max))
        self._view = memoryview(self._buf)
        self.clear()

    def clear(self) -> None:
        """Forget what came, as after an interruption."""
        self._begin = 0  # of the packet that is on its way
        self._looked = 0  # no zero from there to here
        self._end = 0
        self._skips = False  # to the next zero

    def room(self) -> memoryview:
        """Where the next bytes of the line go: never empty once `next_packet` has returned 0."""
        return self._view[self._end :]

    def filled(self, count: int) -> None:
        """The first `count` bytes of `room()` are there. Raises UsageError for more than it had."""
        if not 0 <= count <= len(self._buf) - self._end:
            raise UsageError("more bytes than there was room for")
        self._end += count

    def next_packet(self) -> int:
        """The kind of the next packet, with its `payload`; 0 until more bytes come."""
        while True:
            zero = self._buf.find(_DELIMITER, self._looked, self._end)
            if zero < 0:
                self._keep()
                return 0
            begin = self._begin
            self._begin = self._looked = zero + 1
            if self._skips:
                self._skips = False
            elif zero > begin:  # two zeros: nothing between two packets
                kind = self._decode(begin, zero)
                if kind:
                    self.packets += 1
                    return kind
                self.refused += 1

    def _keep(self) -> None:
        """Make room for the rest of a packet that has begun; of one that is too long nothing is kept."""
        begin, end = self._begin, self._end
        if self._skips:
            begin = end
        elif begin == 0 and end == len(self._buf):
            self.refused += 1
            self._skips = True
            begin = end
        if begin:
            if end > begin:
                self._view[: end - begin] = self._view[begin:end]
            self._begin = 0
            self._end = end - begin
        self._looked = self._end

    def _decode(self, begin: int, end: int) -> int:
        """The kind of what lies there, with its `payload`; 0 if it is no packet."""
        buf, view = self._buf, self._view
        at = first = kept = begin + 1  # to here it is decoded; its body; from here on it lies where it came
        code = begin
        run = buf[code]
        while code + run < end:
            code += run
            if run == _FULL:  # this code byte was inserted
                if at != kept:
                    view[at : at + code - kept] = view[kept:code]
                at += code - kept
                kept = code + 1
                run = buf[code]
            else:
                run = buf[code]
                buf[code] = 0
        if code + run > end:
            return 0
        if at != kept:
            view[at : at + end - kept] = view[kept:end]
        last = at + end - kept - CRC_BYTES
        if last <= first or last - first - 1 > self._payload_bytes_max:
            return 0
        crc: int = struct.unpack_from("<I", buf, last)[0]
        if binascii.crc32(view[first:last]) != crc:
            return 0
        self.payload = view[first + 1 : last]
        return buf[first]
