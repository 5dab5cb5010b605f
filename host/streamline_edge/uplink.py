"""The way to the cloud: frames of the node's session over one MQTT link, with birth and death.

Rule: a frame is asked of the node only when the link has sent all it was given, so that liveness never queues behind
data; answers to questions from afar go between frames, as they are due. An unreachable broker is a state. Knows nothing of what frames
and answers say.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ujson

from streamline_core.ask import Answers
from streamline_host.broker_url import BrokerUrl
from streamline_host.mqtt_link import MqttLink

from .condition import Condition

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig
    from streamline_core.node import Node

log = logging.getLogger("streamline.uplink")

FRAMES_PER_PUMP = 16  # then the loop gets its turn
STATUS_BYTES_MAX = 1024


class Uplink:
    """on_input: called after the node was given something, so that the shell lets it work. own: what the shell answers itself of what is
    asked from afar, as `Answers` has it."""

    def __init__(self, config: EdgeConfig, node: Node, on_input: Callable[[], None], own: dict[str, Callable[[], Any]]) -> None:
        assert config.cloud_endpoint is not None
        prefix = f"streamline/1/{config.fleet}"
        branch = f"{prefix}/n/{config.node_id}"
        self._tx, self._rx, self._status = f"{branch}/tx", f"{branch}/rx", f"{branch}/status"
        self._ask, self._say = f"{branch}/ask", f"{branch}/say"
        self._hub_status = f"{prefix}/hub/status"
        self._config = config
        self._node = node
        self._on_input = on_input
        self._connection = int.from_bytes(os.urandom(4), "big")
        self.url = BrokerUrl.parse(
            config.cloud_endpoint,
            user=config.node_id,
            password_file=config.password_file,
            ca_file=config.ca_file,
            cert_file=config.cert_file,
            key_file=config.key_file,
        )
        self._answers = Answers(node, own)
        self._answer_timer: asyncio.TimerHandle | None = None
        self.frames_out = 0
        self.frames_in = 0
        self.down_reason = "not connected yet"
        self.link = MqttLink(
            self.url,
            config.node_id,
            subscriptions=[(self._rx, 0), (self._hub_status, 1), (self._status, 1), (self._ask, 0)],
            dispensable={self._ask},  # a broker that lets nobody ask is none the worse
            on_message=self._message,
            on_up=self._up,
            on_down=self._down,
            on_retry=self._retry,
            on_writable=on_input,
            will=(self._status, self._presence(False), 1, True),
            retry_secs=(config.sync.retry.initial_ms / 1000, config.sync.retry.max_ms / 1000),
        )
        self._condition: Condition | None = None
        self._condition_text: str | None = None

    def start(self) -> None:
        self.link.start()
        self._watch_condition()

    def _watch_condition(self) -> None:
        text = self._condition_text = self._config.sync.condition
        self._condition = Condition(text, self._looked) if text is not None else None
        if self._condition is not None:
            self._condition.start()

    async def reconfigured(self) -> None:
        """Values of `sync` in the configuration have changed."""
        retry = self._config.sync.retry
        self.link.retry_secs = (retry.initial_ms / 1000, retry.max_ms / 1000)
        if self._config.sync.condition != self._condition_text:
            if self._condition is not None:
                await self._condition.stop()
            self._looked(False)  # what held was another condition
            self._watch_condition()

    def _looked(self, holds: bool) -> None:
        if self._node.gate is not None:
            self._node.gate.condition(holds)
            self._on_input()

    async def stop(self) -> None:
        """Say goodbye and disconnect."""
        if self._condition is not None:
            await self._condition.stop()
        self._answers.clear()
        self._wake(-1)
        if self.link.connected:
            self.link.publish(self._status, self._presence(False), qos=1, retain=True)
        await self.link.stop()

    def pump(self) -> bool:
        """Publish frames while the link takes them at once. Returns True if there may be more right away."""
        link = self.link
        if not link.connected:
            return False
        for _ in range(FRAMES_PER_PUMP):
            if link.unsent_bytes:
                return False
            piece = self._answers.next_piece(self._node.clock.monotonic_ms())
            if piece is not None:
                link.publish(self._say, piece)
                continue
            frame = self._node.next_frame()
            if frame is None:
                self._wake(self._answers.deadline_ms())
                return False
            self.frames_out += 1
            # It may be a view of a buffer that the node uses again.
            link.publish(self._tx, bytes(frame))
        return True

    def _wake(self, deadline_ms: int) -> None:
        """Have the shell come again when the next piece of an answer is due; -1: for no answer."""
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None
        if deadline_ms >= 0:
            delay_ms = max(0, deadline_ms - self._node.clock.monotonic_ms())
            self._answer_timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._on_input)

    def status(self) -> dict[str, object]:
        link = self.link
        return {
            "endpoint": str(self.url),
            "connected": link.connected,
            "reason": "" if link.connected else self.down_reason,
            "bytes_out": link.bytes_out,
            "bytes_in": link.bytes_in,
            "frames_out": self.frames_out,
            "frames_in": self.frames_in,
        }

    def _presence(self, online: bool) -> bytes:
        text: str = ujson.dumps({"online": online, "connection": self._connection})
        return text.encode()

    def _up(self) -> None:
        log.info("connected to %s", self.url)
        self.link.publish(self._status, self._presence(True), qos=1, retain=True)
        self._node.link_up()
        self._on_input()

    def _down(self, reason: str) -> None:
        log.info("no connection to %s: %s", self.url, reason)
        self.down_reason = reason
        self._answers.clear()
        self._node.link_down(reason)
        self._on_input()

    def _retry(self, reason: str, wait_secs: float) -> None:
        self.down_reason = reason

    def _message(self, topic: str, payload: bytes) -> None:
        if topic == self._rx:
            self.frames_in += 1
            self._node.receive(payload)
        elif topic == self._hub_status:
            self._hub(payload)
        elif topic == self._status:
            self._own(payload)
        elif topic == self._ask:
            self._answers.receive(payload)
        self._on_input()

    def _hub(self, payload: bytes) -> None:
        said = _read(payload)
        self._node.hub_status(said.get("online") is True, str(said.get("boot", ""))[:64])

    def _own(self, payload: bytes) -> None:
        """The death of an earlier connection may reach the broker after the birth of this one."""
        if payload and _read(payload).get("online") is not True and self.link.connected:
            self.link.publish(self._status, self._presence(True), qos=1, retain=True)


def _read(payload: bytes) -> dict[str, object]:
    try:
        said = ujson.loads(payload) if len(payload) <= STATUS_BYTES_MAX else None
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {}
