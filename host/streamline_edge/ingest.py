"""Messages of a local MQTT broker that become records.

Rule: at least once. A message is acknowledged to the broker only when it is durable here, over a session that the
broker keeps, so that a crash between the two repeats it and loses nothing. The first rule that matches decides; nothing
else is subscribed to.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from streamline_core.errors import QueueFull, StorageFull, UsageError
from streamline_host.broker_url import BrokerUrl
from streamline_host.mqtt_link import MqttLink

if TYPE_CHECKING:
    from streamline_core.config import IngestRule, TopicConfig

    from .agent import Agent

log = logging.getLogger("streamline.ingest")

WAITING_MAX = 65536  # messages taken from the broker and not yet stored; more than a broker sends unacknowledged
RETRY_SECS = 1.0


class Ingest:
    """Runs the `ingest` rules of the agent's configuration against the broker at `url`.

    Raises: UsageError for a rule whose topic would take none of its messages.
    """

    def __init__(self, agent: Agent, url: BrokerUrl) -> None:
        config = agent.config
        for rule in config.ingest:
            why = takes_nothing(rule, config.topics[rule.topic])
            if why is not None:
                raise UsageError(f"ingest from {rule.filter}: {why}")
        self._agent = agent
        self._rules = config.ingest
        self._waiting: deque[tuple[str, bytes, int]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self.stored = 0
        self.refused = 0
        self._link = MqttLink(
            url,
            f"streamline-{config.node_id}",
            subscriptions=[(filter, 1) for filter in outermost({rule.filter for rule in self._rules})],
            on_message=self._message,
            on_retry=lambda reason, wait_secs: log.warning("local broker: %s", reason),
            manual_ack=True,
            clean_session=False,
        )

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._link.start()

    async def stop(self) -> None:
        """What is not acknowledged, the broker keeps and sends again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._link.stop()

    def _message(self, topic: str, payload: bytes, delivery: int) -> None:
        if len(self._waiting) >= WAITING_MAX:
            return  # never acknowledged, so it comes again with the next connection
        self._waiting.append((topic, payload, delivery))
        self._arrived.set()

    async def _run(self) -> None:
        while True:
            while self._waiting:
                topic, payload, delivery = self._waiting[0]
                try:
                    await self._store(topic, payload, delivery)
                except (QueueFull, StorageFull) as e:
                    log.warning("%s; trying again", e)
                    await asyncio.sleep(RETRY_SECS)
                    continue
                self._waiting.popleft()
            self._arrived.clear()
            await self._arrived.wait()

    async def _store(self, topic: str, payload: bytes, delivery: int) -> None:
        rule = next((rule for rule in self._rules if matches(rule.filter, topic)), None)
        if rule is None:
            self._link.ack(delivery)
            return
        try:
            stream, offset = await self._agent.producer.accepted(self._agent.node.produce, rule.topic, payload, _key(rule, topic))
        except UsageError as e:
            # It can never be stored. Not acknowledging it would stop all that come behind it.
            self.refused += 1
            log.error("message of %d bytes on %s refused: %s", len(payload), topic, e)
            self._link.ack(delivery)
            return
        self._agent.producer.durable(stream, offset, offset + 1).add_done_callback(
            lambda done: self._durable(done, (topic, payload, delivery))
        )

    def _durable(self, done: asyncio.Future[int], message: tuple[str, bytes, int]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self.stored += 1
            self._link.ack(message[2])
        else:
            # A broker repeats what was not acknowledged only to a new connection: so it is tried again here.
            log.error("not stored, trying again: %s", error)
            self._waiting.append(message)
            self._arrived.set()


def _key(rule: IngestRule, topic: str) -> bytes | None:
    return topic.encode() if rule.key == "topic" else None


def matches(filter: str, topic: str) -> bool:
    """Whether an MQTT filter takes a topic (MQTT 3.1.1, section 4.7)."""
    if topic.startswith("$") and filter[0] in "+#":
        return False
    wanted, levels = filter.split("/"), topic.split("/")
    for i, want in enumerate(wanted):
        if want == "#":
            return True
        if i >= len(levels) or want not in ("+", levels[i]):
            return False
    return len(wanted) == len(levels)


def covers(wide: str, narrow: str) -> bool:
    """Whether every topic that `narrow` takes is one that `wide` takes."""
    if narrow.startswith("$") and wide[0] in "+#":
        return False
    wides, narrows = wide.split("/"), narrow.split("/")
    for i, want in enumerate(wides):
        if want == "#":
            return True
        if i >= len(narrows) or narrows[i] == "#" or want not in ("+", narrows[i]):
            return False
    return len(wides) == len(narrows)


def outermost(filters: set[str]) -> list[str]:
    """The filters that no other one covers: a broker may send one message for each subscription that takes it (MQTT
    3.1.1, section 3.3.5), which would store it twice. Those that merely cross may still do that."""
    return sorted(one for one in filters if not any(other != one and covers(other, one) for other in filters))


def takes_nothing(rule: IngestRule, topic: TopicConfig) -> str | None:
    """Why a topic would take none of a rule's messages; None where it would."""
    if topic.direction == "cloud_to_edge":
        return f"topic {topic.name} flows from the cloud; nothing is stored in it here"
    if topic.kind == "keyed" and rule.key is None:
        return f"topic {topic.name} is keyed; set key: topic"
    return None


def host_and_port(text: str) -> tuple[str, int]:
    """ "127.0.0.1:1883" in its parts. Raises: UsageError."""
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not (port.isascii() and port.isdigit() and len(port) <= 5) or int(port) > 65535:
        raise UsageError(f"broker_listen: {text!r} is not allowed; use HOST:PORT such as 127.0.0.1:1883")
    return host, int(port)
