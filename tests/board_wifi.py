"""A WiFi chip that plays along or does not, in a real MicroPython, and a real time server on a real socket. A helper of tests, no test."""

import json
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import mpy

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "correct horse 7"
UNIX_EPOCH = 2208988800
PLAY = """
import sys, time
class WLAN:
    def __init__(self, interface):
        self.connected, self.calls = False, []
    def active(self, on):
        self.calls.append("active")
    def isconnected(self):
        return self.connected
    def connect(self, ssid, password):
        self.calls.append("connect %%s %%s" %% (ssid, "with" if password else "open"))
        if busy:
            raise OSError(16)
    def ifconfig(self):
        return "10.0.0.2", "255.255.255.0", "10.0.0.1", name_server
    def disconnect(self):
        self.calls.append("disconnect")
class Network:
    STA_IF = 0
    @staticmethod
    def WLAN(interface):
        global wlan
        wlan = WLAN(interface)
        return wlan
    @staticmethod
    def country(code):
        print("country", code)
class RTC:
    def datetime(self, when):
        print("clock", when)
class Machine:
    pass
Machine.RTC = RTC
busy, name_server = False, "0.0.0.0"
sys.modules["network"], sys.modules["machine"] = Network, Machine
class Entropy:
    def fill(self, buf):
        for i in range(len(buf)):
            buf[i] = 7 + i
from streamline_core.errors import UsageError
from streamline_board.wifi import Wifi
try:
    wifi = Wifi(None, Entropy(), %r)
except UsageError as error:
    print("refused", error)
    sys.exit()
"""


def run(folder: Path, given: object, code: str = "") -> str:
    path = folder / "wifi.json"
    if given is not None:
        path.write_text(given if isinstance(given, str) else json.dumps(given))
    program = mpy.find_micropython()
    assert program is not None
    result = subprocess.run(
        [program, "-X", "heapsize=1M", "-c", PLAY % str(path) + code], env=os.environ | {"MICROPYPATH": ".frozen:shared:firmware"},
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert not result.stderr, result.stderr
    return result.stdout


class TimeServer:
    """Answers each question as `answer` makes it of the request."""

    def __init__(self, port: int, answer: Callable[[bytes], list[bytes]]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._answer = answer
        self.asked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                request, address = self._socket.recvfrom(100)
            except OSError:
                return
            self.asked += 1
            for reply in self._answer(request):
                self._socket.sendto(reply, address)

    def close(self) -> None:
        self._socket.close()


def reply(request: bytes, seconds: int, first: int = 0x24, stratum: int = 2, nonce: bytes | None = None) -> bytes:
    head = struct.pack(">BBbb", first, stratum, 6, -20) + bytes(20)
    return head + (request[40:48] if nonce is None else nonce) + bytes(8) + struct.pack(">II", seconds % (1 << 32), 0)
