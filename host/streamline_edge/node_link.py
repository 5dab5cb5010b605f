"""One node at the broker of the cloud: its connection, its branch of topics, its birth and death.

Rule: the client id is the node's id, so that the broker lets one connection stand for it; who sees a death of its own publishes its birth
again. An unreachable broker is a state. Must not know: what frames, questions and answers say, where the node is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import ujson

from streamline_host.mqtt_link import MqttLink

if TYPE_CHECKING:
    from streamline_host.broker_url import BrokerUrl

log = logging.getLogger("streamline.uplink")

STATUS_BYTES_MAX = 1024
BOOT_CHARS_MAX = 64


class NodeLink:
    """
    on_frame(payload), on_ask(payload): for the node. on_hub(online, boot): what is said of the hub. on_up(): frames can go; the birth is
    published. on_down(reason): they can no longer. on_retry(reason): still not. on_writable(): all that was handed over is sent.
    """

    def __init__(
        self,
        url: BrokerUrl,
        fleet: str,
        node_id: str,
        retry_secs: tuple[float, float],
        *,
        on_frame: Callable[[bytes], None],
        on_ask: Callable[[bytes], None],
        on_hub: Callable[[bool, str], None],
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        on_retry: Callable[[str], None],
        on_writable: Callable[[], None] | None = None,
    ) -> None:
        branch = f"streamline/1/{fleet}/n/{node_id}"
        self._tx, self._say, self._status = f"{branch}/tx", f"{branch}/say", f"{branch}/status"
        hub, ask, rx = f"streamline/1/{fleet}/hub/status", f"{branch}/ask", f"{branch}/rx"
        self._takes: dict[str, Callable[[bytes], None]] = {rx: on_frame, ask: on_ask, hub: self._hub_said, self._status: self._own_said}
        self._on_up, self._on_down, self._on_hub = on_up, on_down, on_hub
        self._connection = int.from_bytes(os.urandom(4), "big")
        self.down_reason = "not connected yet"
        self._on_retry = on_retry
        self.mqtt = MqttLink(
            url,
            node_id,
            subscriptions=[(rx, 0), (hub, 1), (self._status, 1), (ask, 0)],
            dispensable={ask},  # a broker that lets nobody ask is none the worse
            on_message=self._message,
            on_up=self._up,
            on_down=self._down,
            on_retry=self._retry,
            on_writable=on_writable,
            will=(self._status, self._presence(False), 1, True),
            retry_secs=retry_secs,
        )

    def start(self) -> None:
        """Begin connecting, and keep at it until `stop`. Call on the loop."""
        self.mqtt.start()

    async def stop(self) -> None:
        """Say goodbye and disconnect."""
        if self.mqtt.connected:
            self.mqtt.publish(self._status, self._presence(False), qos=1, retain=True)
        await self.mqtt.stop()

    def publish_frame(self, payload: bytes) -> None:
        self.mqtt.publish(self._tx, payload)

    def publish_piece(self, payload: bytes) -> None:
        """Of an answer, to whoever asked."""
        self.mqtt.publish(self._say, payload)

    def _presence(self, online: bool) -> bytes:
        text: str = ujson.dumps({"online": online, "connection": self._connection})
        return text.encode()

    def _up(self) -> None:
        self.mqtt.publish(self._status, self._presence(True), qos=1, retain=True)
        self._on_up()

    def _down(self, reason: str) -> None:
        self.down_reason = reason
        self._on_down(reason)

    def _retry(self, reason: str, wait_secs: float) -> None:
        self.down_reason = reason
        self._on_retry(reason)

    def _message(self, topic: str, payload: bytes) -> None:
        take = self._takes.get(topic)
        if take is not None:
            take(payload)

    def _hub_said(self, payload: bytes) -> None:
        said = read_status(payload)
        self._on_hub(said.get("online") is True, str(said.get("boot", ""))[:BOOT_CHARS_MAX])

    def _own_said(self, payload: bytes) -> None:
        """The death of an earlier connection may reach the broker after the birth of this one."""
        if payload and read_status(payload).get("online") is not True and self.mqtt.connected:
            self.mqtt.publish(self._status, self._presence(True), qos=1, retain=True)


def read_status(payload: bytes) -> dict[str, object]:
    """A status message; nothing where it is none."""
    try:
        said = ujson.loads(payload) if len(payload) <= STATUS_BYTES_MAX else None
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {}
