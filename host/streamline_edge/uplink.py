"""The way to the cloud: frames of the node's session over one MQTT link.

Rule: a frame is asked of the node only when the link has sent all it was given, so that liveness never queues behind
data; answers to questions from afar go between frames, as they are due. An unreachable broker is a state. Knows nothing of what frames
and answers say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamline_core.ask import Answers
from streamline_core.config_values import LINE_SCHEMES
from streamline_core.errors import UsageError
from streamline_host.broker_url import BrokerUrl

from .condition import Condition
from .node_link import NodeLink

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig
    from streamline_core.node import Node

log = logging.getLogger("streamline.uplink")

FRAMES_PER_PUMP = 16  # then the loop gets its turn


class Uplink:
    """on_input: called after the node was given something, so that the shell lets it work. own: what the shell answers itself of what is
    asked from afar, as `Answers` has it."""

    def __init__(self, config: EdgeConfig, node: Node, on_input: Callable[[], None], own: dict[str, Callable[[], Any]]) -> None:
        assert config.cloud_endpoint is not None
        if config.cloud_endpoint.split("://")[0] in LINE_SCHEMES:
            raise UsageError(
                "cloud_endpoint %s: only a board reaches the cloud over a serial line; name a broker, such as mqtts://HOST. "
                "To carry a board that is at the end of a line, name the line under serial" % config.cloud_endpoint
            )
        self._config = config
        self._node = node
        self._on_input = on_input
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
        self._node_link = NodeLink(
            self.url,
            config.fleet,
            config.node_id,
            (config.sync.retry.initial_ms / 1000, config.sync.retry.max_ms / 1000),
            on_frame=self._frame,
            on_ask=self._ask,
            on_hub=self._hub,
            on_up=self._up,
            on_down=self._down,
            on_retry=lambda reason: None,
            on_writable=on_input,
        )
        self.link = self._node_link.mqtt
        self._condition: Condition | None = None
        self._condition_text: str | None = None

    def start(self) -> None:
        self._node_link.start()
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
        await self._node_link.stop()

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
                self._node_link.publish_piece(piece)
                continue
            frame = self._node.link.next_frame()
            if frame is None:
                self._wake(self._answers.deadline_ms())
                return False
            self.frames_out += 1
            # It may be a view of a buffer that the node uses again.
            self._node_link.publish_frame(bytes(frame))
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
            "reason": "" if link.connected else self._node_link.down_reason,
            "bytes_out": link.bytes_out,
            "bytes_in": link.bytes_in,
            "frames_out": self.frames_out,
            "frames_in": self.frames_in,
        }

    def _up(self) -> None:
        log.info("connected to %s", self.url)
        self._node.link.up()
        self._on_input()

    def _down(self, reason: str) -> None:
        log.info("no connection to %s: %s", self.url, reason)
        self._answers.clear()
        self._node.link.down(reason)
        self._on_input()

    def _frame(self, payload: bytes) -> None:
        self.frames_in += 1
        self._node.link.receive(payload)
        self._on_input()

    def _ask(self, payload: bytes) -> None:
        self._answers.receive(payload)
        self._on_input()

    def _hub(self, online: bool, boot: str) -> None:
        self._node.link.hub_status(online, boot)
        self._on_input()
