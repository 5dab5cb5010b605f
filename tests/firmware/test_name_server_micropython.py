"""Names that a board with WiFi looks up: a real name server on a real socket, one that is silent, and one that comes later."""

import calendar
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dnslib.server import DNSServer
from dnslib.zoneresolver import ZoneResolver

import mpy
from board_wifi import UNIX_EPOCH, TimeServer, reply, run

SECONDS = calendar.timegm((2026, 11, 28, 9, 0, 7)) + UNIX_EPOCH
CLOCK = "clock (2026, 11, 28, 5, 9, 0, 7, 0)"
ZONE = """
$ORIGIN example.
$TTL 30
time CNAME clock.other
clock.other A 127.0.0.1
broker A 127.0.0.9
nothing TXT "no address"
"""
TURNS = """
wlan.connected = True
name_server = "127.0.0.1:%d"
start, turns, longest = time.ticks_ms(), 0, 0
def turn():
    global turns, longest
    ms = time.ticks_diff(time.ticks_ms(), start)
    wifi.turn(ms)
    turns += 1
    longest = max(longest, time.ticks_diff(time.ticks_ms(), start) - ms)
    time.sleep_ms(20)
def until(done, ms):
    at = time.ticks_ms()
    turn()
    while not done() and time.ticks_diff(time.ticks_ms(), at) < ms:
        turn()
from streamline_board import tcp
def look(host):
    try:
        return tcp.names.address(host)
    except OSError as error:
        return type(error).__name__ + ": " + str(error)
"""

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]


class Recursive(ZoneResolver):
    """As a board's own name server: it follows an alias itself."""

    def resolve(self, request: Any, handler: Any) -> Any:
        reply = super().resolve(request, handler)
        reply.rr, reply.ar = reply.rr + reply.ar, []
        return reply


@pytest.fixture
def clock(free_port: Callable[[], int]) -> Iterator[int]:
    """The port of a time server."""
    port = free_port()
    server = TimeServer(port, lambda request: [reply(request, SECONDS)])
    yield port
    server.close()


@pytest.fixture
def names(free_port: Callable[[], int]) -> Iterator[int]:
    """The port of a name server."""
    port = free_port()
    server = DNSServer(Recursive(ZONE), address="127.0.0.1", port=port, logger=_Silent())
    server.start_thread()
    yield port
    server.stop()
    server.server.server_close()


class _Silent:
    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def test_the_time_server_and_a_broker_are_found_by_their_names(tmp_path: Path, clock: int, names: int) -> None:
    said = run(
        tmp_path,
        {"ssid": "home", "time_server": "time.example:%d" % clock},
        TURNS % names
        + """
until(lambda: wifi._time.set, 8000)
until(lambda: "LookingUp" not in look("broker.example"), 4000)
print(look("broker.example"))
until(lambda: "LookingUp" not in look("nothing.example"), 4000)
print(look("nothing.example"))
until(lambda: "LookingUp" not in look("nobody.example"), 4000)
print(look("nobody.example"))
""",
    )
    assert said.splitlines() == [
        CLOCK,
        "127.0.0.9",
        "OSError: no address of nothing.example: the name server knows none",
        "OSError: no address of nobody.example: the name server knows none",
    ]


def test_a_silent_name_server_stops_nothing_and_what_it_said_before_holds(tmp_path: Path, clock: int, free_port: Callable[[], int]) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", port))
        said = run(
            tmp_path,
            {"ssid": "home", "time_server": "time.example:%d" % clock},
            TURNS % port
            + """
until(lambda: look("time.example")[:7] == "OSError", 9000)
print(look("time.example"), wifi._time.set, turns > 100)
wifi._names._rows[0].address = "127.0.0.1"  # as if it had been known before
until(lambda: wifi._time.set, 6000)
print(longest < 2000)
""",
        )
    assert said.splitlines() == ["OSError: no address of time.example: no name server answers 0 True", CLOCK, "True"], said


def test_a_name_server_that_comes_later_is_asked_again(tmp_path: Path, names: int) -> None:
    said = run(
        tmp_path,
        {"ssid": "home", "time_server": ""},
        TURNS % names
        + """
right, name_server = name_server, "0.0.0.0"
until(lambda: False, 200)
print(look("10.0.0.1"), [look(host)[:7] for host in ("10.0.0", "10.0.0.256", "a.b.c.d")])
print(look("broker.example"))
name_server = right
until(lambda: look("broker.example")[:3] == "127", 2000)
print(look("broker.example"))
""",
    )
    assert said.splitlines() == [
        "10.0.0.1 ['OSError', 'OSError', 'OSError']",
        "OSError: no address of broker.example: there is no name server",
        "127.0.0.9",
    ]


def test_few_names_are_kept_and_the_one_that_was_needed_last_stays(tmp_path: Path, names: int) -> None:
    said = run(
        tmp_path,
        {"ssid": "home", "time_server": ""},
        TURNS % names
        + """
turn()
for n in range(20):
    until(lambda: "LookingUp" not in look("broker.example"), 4000)
    look("other%d.example" % n)
print(look("broker.example"), len(wifi._names._rows))
""",
    )
    assert said == "127.0.0.9 4\n"
