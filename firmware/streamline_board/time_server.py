"""A client of a time server (SNTP, RFC 4330): without a battery clock, no certificate of today is valid.

Rule: an answer counts only if it repeats what was drawn for its question; nothing here waits.
Must not know: who needs the time.
"""

import socket
import struct
import time

import machine

from . import tcp
from .name_server import LookingUp

PORT = 123
PACKET_BYTES = 48
ANSWER_MS = 3000
ASK_MS = 15000  # again, where no answer came
REFRESH_MS = 6 * 3600 * 1000  # a crystal is 2 seconds off by then
POLL_MS = 100
LOOK_MS = 250  # again, where its name is being looked up
_REQUEST = 0x23  # version 4, client
_MODE, _SERVER = 0x07, 4
_STRATUM_MAX = 15
_UNIX_EPOCH = 2208988800  # in seconds of NTP, which count from 1900
_ERA = 1 << 32
_YEAR_MIN, _YEAR_MAX = 2025, 2100


class TimeServer:
    """host: a name or an address, with :PORT where it is another; entropy: the board's. set: how often the clock has been set."""

    def __init__(self, host, entropy):
        self._host, _, port = host.partition(":")
        self._port = int(port) if port.isdigit() else PORT
        self._entropy = entropy
        self._packet = bytearray(PACKET_BYTES)
        self._nonce = bytearray(8)
        self._socket = None
        self._at_ms = self._until_ms = 0
        self.set = 0

    def turn(self, now_ms):
        """Ask, or see whether there is an answer. Returns when to come again (monotonic ms)."""
        if self._socket is not None:
            return self._look(now_ms)
        if now_ms >= self._at_ms:
            self._ask(now_ms)
        return self._at_ms

    def _ask(self, now_ms):
        self._at_ms = now_ms + ASK_MS
        packet = self._packet
        for i in range(PACKET_BYTES):
            packet[i] = 0
        packet[0] = _REQUEST
        self._entropy.fill(self._nonce)
        packet[40:48] = self._nonce  # in place of our time, which is none: a server sends back whatever stands here
        sock = None
        try:
            address = tcp.resolve(self._host, self._port, socket.SOCK_DGRAM)
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.sendto(packet, address)
        except OSError as error:
            if sock is not None:
                sock.close()
            if isinstance(error, LookingUp):
                self._at_ms = now_ms + LOOK_MS
            return
        self._socket = sock
        self._until_ms = now_ms + ANSWER_MS
        self._at_ms = now_ms + POLL_MS

    def _look(self, now_ms):
        try:
            answer = self._socket.recv(PACKET_BYTES)
        except OSError:
            answer = b""  # nothing yet, or nobody is there
        seconds = self._seconds(answer)
        if seconds and _set_clock(seconds):
            self.set += 1
            self._close(now_ms + REFRESH_MS)
        elif now_ms >= self._until_ms:
            self._close(now_ms + ASK_MS)
        else:
            self._at_ms = now_ms + POLL_MS
        return self._at_ms

    def _close(self, at_ms):
        self._socket.close()
        self._socket = None
        self._at_ms = at_ms

    def _seconds(self, answer):
        """Since 1970 UTC, 0 where that is no answer to what was asked."""
        if len(answer) < PACKET_BYTES or answer[0] & _MODE != _SERVER or not 0 < answer[1] <= _STRATUM_MAX or answer[0] >> 6 == 3:
            return 0
        if answer[24:32] != self._nonce:
            return 0
        seconds = struct.unpack(">I", answer[40:44])[0]
        if seconds < _UNIX_EPOCH:  # from 2036 on they count anew
            seconds += _ERA
        return seconds - _UNIX_EPOCH


def _set_clock(seconds):
    """Whether the real-time clock took it."""
    if time.gmtime(0)[0] == 2000:  # some ports count from there
        seconds -= 946684800
    at = time.gmtime(seconds)
    if not _YEAR_MIN <= at[0] <= _YEAR_MAX:
        return False
    machine.RTC().datetime((at[0], at[1], at[2], at[6], at[3], at[4], at[5], 0))
    return True
