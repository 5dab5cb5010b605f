"""Byte lines of a board: a UART of its own, a terminal device of the unix port, or a TCP connection that stands for a line.

Rule: reading and writing never wait; what a port cannot do is found out by trying it. Must not know: packets, what a line is for.
"""

import select

from streamline_core.errors import UsageError
from streamline_core.serial_url import SerialUrl

WRITE_BYTES = 256  # a terminal that can be written takes so much without waiting, or nearly
_POLLIN, _POLLOUT, _POLLHUP = 1, 4, 16
_VTIME, _VMIN = 5, 6  # where Linux has them


class Line:
    """What a cloud_endpoint says of a line. baud: 0 where it has no speed; reopens: whether opening it anew can help where nothing comes.

    Raises UsageError for what is no line.
    """

    def __init__(self, url):
        line = SerialUrl(url)
        self.where, self.baud, self.buffer_bytes = line.where, line.baud, line.buffer_bytes
        self.reopens = line.tcp is not None
        self._url = url
        self._checked = None  # a UART that was opened to see whether it is there
        if self.reopens:
            try:
                from .tcp import open_tcp
            except ImportError:
                raise UsageError("cloud_endpoint %r: this image has no network; use serial://UART" % url)
            self._open_tcp = open_tcp
            self._address = line.tcp
        elif self.where[:1] == "/":
            _check_speed(url, self.baud)

    def check(self):
        """Raises UsageError for a UART that this board does not have: no other try would find it."""
        if not self.reopens and self.where.isdigit():
            try:
                self._checked = _uart(int(self.where), self.baud, self.buffer_bytes)
            except ValueError as error:
                raise UsageError("cloud_endpoint %s: %s" % (self._url, error))

    def open(self):
        """The line as a stream: `readinto` gives None where nothing came, `write` may take less than all. Raises OSError, ValueError."""
        if self.reopens:
            return self._open_tcp(self._address[0], self._address[1])
        if self.where.isdigit():
            checked, self._checked = self._checked, None
            if checked is not None:
                return checked
            return _uart(int(self.where), self.baud, self.buffer_bytes)
        return Terminal(self.where, self.baud)


def _check_speed(url, baud):
    """A terminal has the speeds that this build has names for."""
    try:
        import termios
    except ImportError:
        raise UsageError("cloud_endpoint %r: this image has no terminal devices; use serial://UART" % url)
    if hasattr(termios, "B%d" % baud):
        return
    speeds = sorted([int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()])
    known = ", ".join([str(speed) for speed in speeds if speed])  # B0 hangs up
    raise UsageError("cloud_endpoint %r: a terminal device of this build does not have %d baud; it has %s" % (url, baud, known))


def _uart(number, baud, buffer_bytes):
    import machine

    if not hasattr(machine, "UART"):
        raise ValueError("this build has no machine.UART; use serial:///dev/NAME or serial+tcp://HOST:PORT")
    try:
        return machine.UART(number, baudrate=baud, timeout=0, timeout_char=0, rxbuf=buffer_bytes)
    except TypeError:  # a port whose buffers are as they are
        return machine.UART(number, baudrate=baud, timeout=0)


class Terminal:
    """A terminal device, raw. baud: one that the build has (see Line). polled: what stands for it in a poll. Raises OSError."""

    def __init__(self, path, baud):
        import termios

        speed = getattr(termios, "B%d" % baud)
        self.polled = file = open(path, "r+b")
        try:
            termios.setraw(file.fileno())
            modes = termios.tcgetattr(file.fileno())
            modes[4] = modes[5] = speed
            # A read returns what is there: MicroPython's `readinto` asks until its buffer is full, or nothing comes.
            modes[6][_VTIME] = modes[6][_VMIN] = 0
            termios.tcsetattr(file.fileno(), termios.TCSANOW, modes)
        except OSError:
            file.close()
            raise
        self._poll = select.poll()
        self._poll.register(file, _POLLIN | _POLLOUT)

    def _ready(self, for_what):
        for row in self._poll.ipoll(0):
            if row[1] & _POLLHUP:
                raise OSError("the device is gone")
            return row[1] & for_what
        return 0

    def readinto(self, buf):
        return self.polled.readinto(buf) if self._ready(_POLLIN) else None

    def write(self, data):
        if not self._ready(_POLLOUT):
            return None
        return self.polled.write(data if len(data) <= WRITE_BYTES else memoryview(data)[:WRITE_BYTES])

    def close(self):
        self.polled.close()
