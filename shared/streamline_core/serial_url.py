"""What the cloud_endpoint of a board says of its serial line: which one, how fast, and how much of it may wait.

Rule: what is no line is refused in one sentence, wherever it is read: on the board, and before it goes there. Must not know: what lines a
board has.
"""

from .errors import UsageError
from .serial_packets import BAUD

BAUD_MIN, BAUD_MAX = 300, 4000000
BUFFER_BYTES, BUFFER_BYTES_MIN, BUFFER_BYTES_MAX = 1024, 64, 32768


class SerialUrl:
    """serial://UART or serial:///dev/NAME, with ?baud=…&buffer=…, or serial+tcp://HOST:PORT.

    where: the number of a UART, or a path; tcp: (host, port) where a connection stands for the line, else None; baud: 0 where it has no
    speed; buffer_bytes: of a UART, where it can be chosen. Raises UsageError.
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self.where, _, query = rest.partition("?")
        self.baud, self.buffer_bytes = BAUD, BUFFER_BYTES
        self.tcp: "tuple[str, int] | None" = None
        if scheme == "serial+tcp":
            host, _, port = self.where.rstrip("/").rpartition(":")
            if not host or not port.isdigit() or query:
                _refuse(url)
            self.tcp, self.baud = (host, int(port)), 0
        elif scheme != "serial" or not (self.where.isdigit() or self.where[:1] == "/"):
            _refuse(url)
        for word in query.split("&") if query else ():
            key, _, value = word.partition("=")
            number = int(value) if value.isdigit() else -1
            if key == "baud" and BAUD_MIN <= number <= BAUD_MAX:
                self.baud = number
            elif key == "buffer" and BUFFER_BYTES_MIN <= number <= BUFFER_BYTES_MAX:
                self.buffer_bytes = number
            else:
                _refuse(url)


def _refuse(url: str) -> None:
    raise UsageError(
        "cloud_endpoint %r: a line is serial://UART or serial:///dev/NAME, with ?baud=%d to %d&buffer=BYTES, or serial+tcp://HOST:PORT"
        % (url, BAUD_MIN, BAUD_MAX)
    )
