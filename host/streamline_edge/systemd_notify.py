"""What a service manager is told: that the agent is ready, that it stops, and, while its loop turns, that it is alive.

Rule: without a service manager (NOTIFY_SOCKET) nothing happens; one that does not listen is no error of ours. Source: sd_notify(3). Knows
nothing of the agent.
"""

from __future__ import annotations

import asyncio
import os
import socket

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


class Notifier:
    """environment: where the manager says how it listens (NOTIFY_SOCKET), and how often it wants to hear (WATCHDOG_USEC)."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        address = given.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        every_us = given.get("WATCHDOG_USEC", "")
        self._alive_secs = int(every_us) / 2e6 if every_us.isdecimal() else 0.0
        self._timer: asyncio.TimerHandle | None = None

    def say(self, state: str) -> None:
        if self._address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
                try:
                    door.sendto(state.encode(), self._address)
                except OSError:
                    pass

    def ready(self, loop: asyncio.AbstractEventLoop) -> None:
        """It works; from now on, say so as long as `loop` turns."""
        self.say(READY)
        if self._alive_secs and self._address:
            self._alive(loop)

    def _alive(self, loop: asyncio.AbstractEventLoop) -> None:
        self.say(ALIVE)
        self._timer = loop.call_later(self._alive_secs, self._alive, loop)

    def stopping(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.say(STOPPING)
