"""A board's WiFi on a real MicroPython: a chip that plays along or does not, and a real time server on a real socket."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import mpy
from board_wifi import PASSWORD, UNIX_EPOCH, TimeServer, reply, run

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "is missing"),
        ("{", "not JSON"),
        ([], "is expected"),
        ({"ssid": "home", "psk": PASSWORD}, "psk is not known"),
        ({"ssid": "", "password": PASSWORD}, "ssid must have 1 to 32 bytes"),
        ({"ssid": "é" * 17, "password": PASSWORD}, "ssid must have 1 to 32 bytes"),
        ({"ssid": "home", "password": "short"}, "password must have 8 to 63 characters"),
        ({"ssid": "home", "password": 12345678}, "password must be a string"),
        ({"ssid": "home", "password": PASSWORD, "country": "Germany"}, "country must be two letters"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name_and_no_password_is_shown(given: object, says: str, tmp_path: Path) -> None:
    said = run(tmp_path, given)
    assert said.startswith("refused") and says in said and "wifi.json" in said
    assert PASSWORD not in said and "short" not in said and "12345678" not in said


def test_it_joins_gives_up_after_a_while_and_joins_again_when_it_is_lost(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        {"ssid": "home", "password": PASSWORD, "country": "DE", "time_server": ""},
        """
at = wifi.turn(0)
assert wlan.calls == ["active", "connect home with"] and at == 1000 and not wifi.up
for ms in range(1000, 20000, 1000):
    wifi.turn(ms)
assert len(wlan.calls) == 2, "it waits for the chip"
at = wifi.turn(20000)
assert wlan.calls[2:] == ["disconnect"] and 20000 <= at <= 21000
wifi.turn(at)
assert wlan.calls[3:] == ["connect home with"]
wlan.connected = True
wifi.turn(at + 1000)
assert wifi.up and wifi.joined == 1
wlan.connected = False
at = wifi.turn(at + 2000)
assert not wifi.up
at = wifi.turn(at)
assert wlan.calls[4:] == ["disconnect", "connect home with"]
busy, wlan.calls[:] = True, []
for _ in range(60):
    before, at = at, wifi.turn(at)
    assert at - before <= 60000
assert wlan.calls.count("connect home with") >= 3 and wifi.joined == 1
print("fine")
""",
    )
    assert said == "country DE\nfine\n"
    assert PASSWORD not in said


ASK = """
wlan.connected = True
start = time.ticks_ms()
while wifi._time.set == 0 and time.ticks_diff(time.ticks_ms(), start) < %d:
    ms = time.ticks_diff(time.ticks_ms(), start)
    wifi.turn(ms)
    time.sleep_ms(20)
print("set", wifi._time.set)
"""


@pytest.mark.parametrize(
    ("when", "shown"),
    [
        ("2026-11-28 09:00:07", "clock (2026, 11, 28, 5, 9, 0, 7, 0)"),
        ("2037-02-03 04:05:06", "clock (2037, 2, 3, 1, 4, 5, 6, 0)"),  # the era of NTP ends in 2036
    ],
)
def test_the_clock_is_set_by_the_answer_to_its_own_question(when: str, shown: str, tmp_path: Path, free_port: Callable[[], int]) -> None:
    import calendar

    seconds = calendar.timegm(time.strptime(when, "%Y-%m-%d %H:%M:%S")) + UNIX_EPOCH

    def answer(request: bytes) -> list[bytes]:
        assert len(request) == 48 and request[0] == 0x23
        wrong = [
            reply(request, seconds + 99, nonce=bytes(8)),  # to somebody else's question
            reply(request, seconds + 99, first=0x23),  # a client's
            reply(request, seconds + 99, stratum=0),  # a kiss of death
            reply(request, seconds + 99, first=0xE4),  # not synchronised
            reply(request, seconds + 99)[:40],
            reply(request, UNIX_EPOCH + 1000000),  # 1970
        ]
        return [*wrong, reply(request, seconds)]

    port = free_port()
    server = TimeServer(port, answer)
    try:
        said = run(tmp_path, {"ssid": "home", "password": PASSWORD, "time_server": "127.0.0.1:%d" % port}, ASK % 8000)
    finally:
        server.close()
    assert said.splitlines() == [shown, "set 1"], said


def test_nobody_who_guesses_can_set_the_clock(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    server = TimeServer(port, lambda request: [reply(request, UNIX_EPOCH + 1800000000, nonce=bytes([i] * 8)) for i in range(50)])
    try:
        said = run(tmp_path, {"ssid": "home", "time_server": "127.0.0.1:%d" % port}, ASK % 6000)
    finally:
        server.close()
    assert said == "set 0\n" and server.asked == 1
