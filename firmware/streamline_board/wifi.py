"""The WiFi of a board: joined as a file says, joined again whenever it is lost; once it is there, a time server sets the clock.

Rule: `turn` never waits, and nothing here prints or hands out the password. Names are looked up by the network's own name server, without
waiting, too: one that is silent is what a board without a way out has. Must not know: links, logs.
"""

import network

from streamline_core.backoff import Backoff
from streamline_core.errors import UsageError
from streamline_core.whole_json import loads

from . import tcp
from .name_server import Names
from .time_server import TimeServer

FILE = "/wifi.json"
KEYS = ("ssid", "password", "country", "hostname", "time_server")
TIME_SERVER = "pool.ntp.org"
JOIN_MS = 20000  # the scan, the handshake and DHCP together
CHECK_MS = 1000
RETRY_MS_MIN, RETRY_MS_MAX = 1000, 60000
SSID_BYTES_MAX, PASSWORD_CHARS = 32, (8, 63)  # IEEE 802.11, WPA


def load(path=FILE):
    """What the file says, checked: a dict with each of KEYS, None where it says nothing. Raises UsageError, which never shows a value."""
    try:
        with open(path) as file:
            given = loads(file.read())
    except OSError:
        raise UsageError('%s is missing: {"ssid": "…", "password": "…"} says which network to join' % path)
    except ValueError:
        raise UsageError("%s: not JSON" % path)
    if not isinstance(given, dict):
        raise UsageError('%s: {"ssid": "…", "password": "…"} is expected' % path)
    for key in given:
        if key not in KEYS:
            raise UsageError("%s: %s is not known; there are: %s" % (path, key, ", ".join(KEYS)))
        if not isinstance(given[key], str):
            raise UsageError("%s: %s must be a string" % (path, key))
    if not 0 < len(given.get("ssid", "").encode()) <= SSID_BYTES_MAX:
        raise UsageError("%s: ssid must have 1 to %d bytes" % (path, SSID_BYTES_MAX))
    password = given.get("password", "")
    if password and not PASSWORD_CHARS[0] <= len(password) <= PASSWORD_CHARS[1]:
        raise UsageError("%s: password must have %d to %d characters, or be left out for an open network" % ((path,) + PASSWORD_CHARS))
    if len(given.get("country", "XX")) != 2:
        raise UsageError("%s: country must be two letters, such as DE" % path)
    return {key: given.get(key) for key in KEYS}


class Wifi:
    """clock, entropy: the board's; path: of the file. Whoever owns it calls `turn` until the end of days.

    up: whether there is a network; joined: how often there has been one. Raises UsageError for what is wrong with the file.
    """

    def __init__(self, clock, entropy, path=FILE):
        given = load(path)
        self._ssid, self._password = given["ssid"], given["password"] or None
        self._clock = clock
        self.up = False
        self.joined = 0
        self._joining_until_ms = -1  # it is being joined, and given up then
        self._backoff = Backoff(entropy, RETRY_MS_MIN, RETRY_MS_MAX)
        self._at_ms = 0
        server = TIME_SERVER if given["time_server"] is None else given["time_server"]
        self._time = TimeServer(server, entropy) if server else None
        if given["country"] is not None and hasattr(network, "country"):
            network.country(given["country"])  # some chips stay off channels that are not allowed everywhere
        if given["hostname"] is not None and hasattr(network, "hostname"):
            network.hostname(given["hostname"])
        self._wlan = network.WLAN(network.STA_IF)
        self._wlan.active(True)
        self._names = tcp.names = Names(entropy, self._name_servers)

    def turn(self, now_ms):
        """Look, and do what is to be done. Returns when to come again (monotonic ms)."""
        if now_ms >= self._at_ms:
            self._at_ms = now_ms + CHECK_MS
            self._check(now_ms)
        at_ms = self._at_ms
        looked_ms = self._names.turn(now_ms)
        if looked_ms >= 0:
            at_ms = min(at_ms, looked_ms)
        if self._time is not None and self.up:
            at_ms = min(at_ms, self._time.turn(now_ms))
        return at_ms

    def _name_servers(self):
        server = self._wlan.ifconfig()[3] if self.up else ""
        return [server] if server and server != "0.0.0.0" else []

    def _check(self, now_ms):
        up = self._wlan.isconnected()
        if up != self.up:
            self.up = up
            self._joining_until_ms = -1
            if up:
                self.joined += 1
                self._backoff.up(now_ms)
            else:
                self._give_up(now_ms)
        elif not up and self._joining_until_ms < 0:
            self._join(now_ms)
        elif not up and now_ms >= self._joining_until_ms:
            self._give_up(now_ms)

    def _join(self, now_ms):
        try:
            self._wlan.connect(self._ssid, self._password)
            self._joining_until_ms = now_ms + JOIN_MS
        except (OSError, RuntimeError):  # the driver is busy with something else
            self._give_up(now_ms)

    def _give_up(self, now_ms):
        """Let go, and join anew after a while that differs from board to board: an access point that came back has them all at once."""
        self._joining_until_ms = -1
        self._backoff.down(now_ms)
        self._at_ms = now_ms + self._backoff.wait_ms()
        try:
            self._wlan.disconnect()
        except (OSError, RuntimeError):
            pass
