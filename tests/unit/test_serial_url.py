"""What a board's cloud_endpoint says of its line: the same on the board and where its configuration is made."""

from harness import raises
from streamline_core.errors import UsageError
from streamline_core.serial_url import SerialUrl


def test_a_line_is_a_uart_a_device_or_a_connection_that_stands_for_one():
    found = [SerialUrl(url) for url in ("serial://1", "serial:///dev/ttyS1?baud=9600&buffer=4096", "serial+tcp://10.0.0.9:4001")]
    assert [(one.where, one.baud, one.buffer_bytes, one.tcp) for one in found] == [
        ("1", 115200, 1024, None),
        ("/dev/ttyS1", 9600, 4096, None),
        ("10.0.0.9:4001", 0, 1024, ("10.0.0.9", 4001)),
    ]


def test_what_is_no_line_is_refused_with_what_is_one():
    for url in (
        "serial://", "serial://x", "serial://-1", "serial:1", "mqtt://h", "serial://1?baud=299", "serial://1?baud=4000001",
        "serial://1?baud=fast", "serial://1?baud", "serial://1?speed=9600", "serial://1?buffer=63", "serial://1?buffer=32769",
        "serial+tcp://h", "serial+tcp://:1", "serial+tcp://h:x", "serial+tcp://h:1?baud=9600",
    ):  # fmt: skip
        error = raises(UsageError, SerialUrl, url)
        assert repr(url) in str(error) and "serial://UART" in str(error), error
