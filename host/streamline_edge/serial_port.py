"""A serial port as two calls that threads can make: read what is there, write all of it. pyserial opens and sets it.

Rule: neither call waits for ever, and one that finds the port gone raises OSError. What has a descriptor is read and written by it, since
pyserial reads a number of bytes or until a time, and what has just come cannot wait for either. Must not know: packets, threads.
"""

from __future__ import annotations

import os
import select
import time
from typing import Any

READ_SECS = 0.5
"""How long a read waits for a first byte."""
WRITE_SECS = 10.0
"""A port that does not take what is to be written within that time is given up."""


def open_port(name: str, baud: int) -> DescriptorPort | PlainPort:
    """name: a device, socket://HOST:PORT or rfc2217://HOST:PORT. Raises OSError, ValueError. May take seconds."""
    import serial  # who has no line does not pay for it

    port = serial.serial_for_url(name, baudrate=baud, timeout=READ_SECS, write_timeout=WRITE_SECS, exclusive=True)
    try:
        return DescriptorPort(port, port.fileno())
    except (AttributeError, OSError):  # io.UnsupportedOperation is one
        return PlainPort(port)


class DescriptorPort:
    """A device or a socket."""

    def __init__(self, port: Any, descriptor: int) -> None:
        self._port = port
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(descriptor, select.POLLIN)
        self._writable.register(descriptor, select.POLLOUT)

    def read_into(self, buf: memoryview) -> int:
        """How many bytes came; 0: none within READ_SECS. Raises OSError."""
        if not self._readable.poll(READ_SECS * 1000):
            return 0
        try:
            count = os.readv(self._descriptor, [buf])
        except BlockingIOError:
            return 0
        if not count:
            raise OSError("the other side has closed it")
        return count

    def write(self, data: memoryview) -> None:
        """Raises OSError, TimeoutError where that takes longer than WRITE_SECS."""
        until, at = time.monotonic() + WRITE_SECS, 0
        while at < len(data):
            left = until - time.monotonic()
            if left <= 0 or not self._writable.poll(left * 1000):
                raise TimeoutError("it takes nothing that is written")
            try:
                at += os.write(self._descriptor, data[at:])
            except BlockingIOError:
                continue

    def close(self) -> None:
        self._port.close()


class PlainPort:
    """What pyserial reaches by other means, such as a port server by RFC 2217."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def read_into(self, buf: memoryview) -> int:
        """As of a DescriptorPort."""
        data: bytes = self._port.read(1)
        if data:
            data += self._port.read(min(self._port.in_waiting, len(buf) - 1))
        buf[: len(data)] = data
        return len(data)

    def write(self, data: memoryview) -> None:
        """As of a DescriptorPort."""
        self._port.write(bytes(data))

    def close(self) -> None:
        self._port.close()
