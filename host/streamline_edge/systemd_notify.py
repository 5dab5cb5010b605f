"""What a service manager is told: that the agent is ready, reads its configuration again, stops, and, while its loop turns, is alive.

Rule: without a service manager (NOTIFY_SOCKET) nothing happens; one that does not listen is no error of ours, and never holds up the
loop. Source: sd_notify(3), sd_watchdog_enabled(3). Knows nothing of the agent.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
RELOADING = "RELOADING=1\nMONOTONIC_USEC=%d"  # the time is for Type=notify-reload, which knows by it which reload is meant
STATE_SECS_MAX = 1.0  # how long a manager that is slow to read may take for a change of state


class Notifier:
    """environment: where the manager says how it listens (NOTIFY_SOCKET), and how often it wants to hear (WATCHDOG_USEC) of whom
    (WATCHDOG_PID)."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        address = given.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        every_us = given.get("WATCHDOG_USEC", "")
        ours = given.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._alive_secs = int(every_us) / 2e6 if ours and every_us.isdecimal() else 0.0  # half of it, as the manual recommends
        self._timer: asyncio.TimerHandle | None = None

    def _say(self, state: str, secs: float = STATE_SECS_MAX) -> None:
        if self._address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
                door.settimeout(secs)
                try:
                    door.sendto(state.encode(), self._address)
                except OSError:
                    pass

    def ready(self, loop: asyncio.AbstractEventLoop) -> None:
        """It works; from now on, say so as long as `loop` turns."""
        self._say(READY)
        if self._alive_secs and self._address:
            self._alive(loop)

    def _alive(self, loop: asyncio.AbstractEventLoop) -> None:
        self._say(ALIVE, 0)  # there will be another
        self._timer = loop.call_later(self._alive_secs, self._alive, loop)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """While the configuration is read again and taken over or refused. Who is interrupted in it is about to stop."""
        self._say(RELOADING % (time.monotonic_ns() // 1000))
        yield
        self._say(READY)

    def stopping(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._say(STOPPING)
