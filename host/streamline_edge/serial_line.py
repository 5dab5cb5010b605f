"""One serial line in threads of its own: opened, read and written as packets, and opened again when the device is gone.

Rule: a device that is absent is a state, and tried again with growing waits; queues are bounded both ways, and what does not fit is dropped
and counted, since the session heals what frames lose. What goes out next is the state, which is always the newest, then frames in order.
Must not know: what packets say, nodes, MQTT.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable

from streamline_core.frames import FRAME_BYTES_MAX
from streamline_core.serial_framing import PacketReader, encode_into, packet_bytes
from streamline_core.serial_packets import BITS_PER_BYTE

from .serial_port import DescriptorPort, PlainPort, open_port

log = logging.getLogger("streamline.serial")

RETRY_SECS = (0.5, 15.0)
"""The first and the largest wait before a device is tried again; each is drawn from half its bound up."""
STABLE_SECS = 30.0
ARRIVED_MAX = 256
"""Packets that the loop has not taken yet."""
QUEUE_SECS = 2
"""Of the line's own speed: so much may wait to be written; one packet may in any case."""
STOP_SECS_MAX = 2.0


class SerialLine:
    """port, baud: as `open_port` has them. Called on the loop: on_packet(kind, payload); on_open(); on_closed(reason), also of a try that
    came to nothing.

    opened: whether it is open; reason: why it is not. refused: packets that came damaged; dropped_in, dropped_out: whole ones that did not
    fit a queue.
    """

    def __init__(
        self,
        port: str,
        baud: int,
        on_packet: Callable[[int, bytes], None],
        on_open: Callable[[], None],
        on_closed: Callable[[str], None],
    ) -> None:
        self.port = port
        self.baud = baud
        self.opened = False
        self.reason = "not opened yet"
        self.bytes_in = self.bytes_out = self.packets_in = self.packets_out = self.dropped_in = self.dropped_out = 0
        self._on_packet, self._on_open, self._on_closed = on_packet, on_open, on_closed
        self._reader = PacketReader(FRAME_BYTES_MAX)
        self._buf = bytearray(packet_bytes(FRAME_BYTES_MAX))
        self._arrived: deque[tuple[int, bytes]] = deque()
        self._changed = threading.Condition()  # of what follows, for the writer
        self._state: tuple[int, bytes] | None = None
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queued_bytes = 0
        self._queue_bytes_max = baud // BITS_PER_BYTE * QUEUE_SECS
        self._stopping = False
        self._thread = threading.Thread(target=self._live, name=f"serial {port}", daemon=True)

    # On the loop.

    @property
    def refused(self) -> int:
        return self._reader.refused

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Write nothing more, and close the device."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, STOP_SECS_MAX)

    def send(self, kind: int, payload: bytes) -> bool:
        """Queue a packet; False: it is dropped, since the line is closed or has too much to do."""
        with self._changed:
            if not self.opened or (self._queue and self._queued_bytes + len(payload) > self._queue_bytes_max):
                self.dropped_out += 1
                return False
            self._queue.append((kind, payload))
            self._queued_bytes += len(payload)
            self._changed.notify_all()
        return True

    def send_state(self, kind: int, payload: bytes) -> None:
        """As `send`, before all that waits, in place of an earlier one."""
        with self._changed:
            if self.opened:
                self._state = (kind, payload)
                self._changed.notify_all()

    def forget(self) -> None:
        """Drop what waits: it is for a board that is not there any more."""
        with self._changed:
            self._queue.clear()
            self._queued_bytes = 0

    def _deliver(self) -> None:
        while self._arrived:
            self._on_packet(*self._arrived.popleft())

    def _told_open(self) -> None:
        log.info("serial %s: open", self.port)
        self._on_open()

    def _told_closed(self, reason: str) -> None:
        self._on_closed(reason)

    # In the threads.

    def _live(self) -> None:
        tries = 0
        while not self._stopping:
            began = time.monotonic()
            reason = self._one_life()
            if time.monotonic() - began >= STABLE_SECS:
                tries = 0
            self._close(reason)
            bound = min(RETRY_SECS[1], RETRY_SECS[0] * 2 ** min(tries, 16))
            tries += 1
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, random.uniform(bound / 2, bound))

    def _one_life(self) -> str:
        """From opening the device to its end. Returns why it ended."""
        try:
            port = open_port(self.port, self.baud)
        except Exception as error:  # pyserial lets termios.error and others through
            return _words(error)
        writer = threading.Thread(target=self._write_all, args=(port,), name=f"serial {self.port} out", daemon=True)
        self._reader.clear()
        with self._changed:
            self.opened, self._failure = True, ""
        self._call(self._told_open)
        writer.start()
        try:
            while not self._stopping and not self._failure:
                self._take(port)
            return self._failure
        except Exception as error:
            return _words(error)
        finally:
            with self._changed:
                self.opened = False
                self._changed.notify_all()
            writer.join()
            port.close()

    def _close(self, reason: str) -> None:
        with self._changed:
            self._queue.clear()
            self._queued_bytes, self._state = 0, None
        if not self._stopping and reason != self.reason:
            log.warning("serial %s: %s; it is tried again", self.port, reason)
        self.reason = reason
        self._call(self._told_closed, reason)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop has ended
            self._stopping = True

    def _take(self, port: DescriptorPort | PlainPort) -> None:
        reader = self._reader
        count = port.read_into(reader.room())
        if not count:
            return
        self.bytes_in += count
        reader.filled(count)
        while kind := reader.next_packet():
            self.packets_in += 1
            if len(self._arrived) >= ARRIVED_MAX:
                self.dropped_in += 1
            else:
                self._arrived.append((kind, bytes(reader.payload)))
        if self._arrived:
            self._call(self._deliver)

    def _write_all(self, port: DescriptorPort | PlainPort) -> None:
        """Until the port is closed, or fails."""
        try:
            while (packet := self._next()) is not None:
                size = encode_into(*packet, self._buf)
                port.write(memoryview(self._buf)[:size])
                self.bytes_out += size
                self.packets_out += 1
        except Exception as error:
            with self._changed:
                self._failure = _words(error)

    def _next(self) -> tuple[int, bytes] | None:
        """What is to be written; waits for it. None: nothing any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or not self.opened or self._state is not None or self._queue)
            if self._stopping or not self.opened:
                return None
            if self._state is not None:
                packet, self._state = self._state, None
                return packet
            packet = self._queue.popleft()
            self._queued_bytes -= len(packet[1])
            return packet


def _words(error: Exception) -> str:
    """What went wrong, for a person."""
    number = getattr(error, "errno", None)
    if number in (errno.EAGAIN, errno.EBUSY):
        return "another program uses it"
    if isinstance(number, int):
        return os.strerror(number)  # pyserial says the port's name and the number besides
    return str(error) or type(error).__name__
