"""The bridge: the asyncio shell around the core's hub.

Rule: everything that decides is in the hub; here is only who carries frames (MQTT), who keeps what arrived (the store
and its thread), and when the hub wants to be called. Frames are handed out only while the link takes them. A broker
that is away is a state. Must not know: what a frame says, what a batch holds.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from streamline_core.errors import ProtocolError, UsageError
from streamline_core.hub import Hub
from streamline_core.hub_config import HubConfig
from streamline_core.stream import check_node_id
from streamline_core.tables import check_key
from streamline_core.topic import TopicDefinition, partition_of
from streamline_host.broker_url import BrokerUrl
from streamline_host.codecs import codecs
from streamline_host.mqtt_link import MqttLink
from streamline_host.ports import SystemClock, SystemEntropy

from .control_server import ControlServer
from .publisher import Headers, Produced, Publisher
from .shown import Rule, Shown
from .store_sqlite import SqliteStore
from .stored_tables import siblings, standing

if TYPE_CHECKING:
    from streamline_core.conflict import Merge

log = logging.getLogger("streamline.cloud")

UNSENT_BYTES_MAX = 512 * 1024
"""Frames for all nodes together that wait for the socket; with one more frame it stays far below 1 MB."""
CREDIT_BYTES = 64 << 20
STATUS_BYTES_MAX = 1024
CLOSE_SECS_MAX = 10.0


class Bridge:
    """
    broker: its URL. store: the file of the SQLite store. fleet: which nodes are ours. node_id: the hub's own name.
    merges: {topic: (its merge module, the hash of that)} where the strategy is custom_merge, for `get`. say(text): where to
    report what a person should know. Raises UsageError for a name, a store or certificates that are of no use.
    """

    def __init__(
        self,
        broker: BrokerUrl | str,
        store: Path | str,
        fleet: str = "default",
        *,
        node_id: str = "cloud",
        credit_bytes: int = CREDIT_BYTES,
        keepalive_secs: int = 30,
        merges: "Mapping[str, tuple[Merge, bytes]] | None" = None,
        say: Callable[[str], None] = log.info,
    ) -> None:
        check_node_id(node_id)
        check_node_id(fleet)
        self.url = BrokerUrl.parse(broker) if isinstance(broker, str) else broker
        self.strange_messages = 0
        self._prefix = "streamline/1/%s/" % fleet
        self._merges = dict(merges or {})
        self._say = say
        self._clock = SystemClock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn_due: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._store_trouble = False
        self._broker_trouble = False
        self._closing = False
        self._stopping = False
        self.link = MqttLink(
            self.url,
            "%s-%s" % (node_id, fleet),  # one broker may serve several fleets, each with its hub
            subscriptions=[
                (self._prefix + "n/+/tx", 0),
                (self._prefix + "n/+/status", 1),
                (self._prefix + "hub/status", 1),
            ],
            on_message=self._on_message,
            on_up=self._on_up,
            on_down=self._on_broker_trouble,
            on_retry=lambda reason, wait_secs: self._on_broker_trouble(reason),
            on_writable=self._pump,
            keepalive_secs=keepalive_secs,
        )
        self.store = SqliteStore(store, self._committed_in_thread)
        config = HubConfig(node_id=node_id, fleet=fleet, credit_bytes=credit_bytes)
        self.hub = Hub(config, self._clock, SystemEntropy(), self.store, codecs("zstd"))
        self._publisher = Publisher(self.hub, self.store, self._wake)
        try:
            self._control = ControlServer(self.store.path, self._publisher)
        except UsageError:
            self.store.close()
            raise

    async def start(self) -> None:
        """Open the hub and begin connecting; returns at once, connected or not. Raises UsageError where the control socket cannot be."""
        self._loop = asyncio.get_running_loop()
        self.hub.open()
        try:
            await self._control.start()
        except UsageError:
            self._loop = None
            raise
        self.link.will = (self._prefix + "hub/status", self._status(False), 1, True)
        self.link.start()
        self._wake()

    async def stop(self) -> None:
        """Say goodbye to the nodes, commit what was taken, close the store."""
        if self._closing:
            return
        self._closing = True
        await self._publisher.finish(CLOSE_SECS_MAX)
        await self._control.stop()
        self._stopping = True
        for handle in (self._turn_due, self._timer):
            if handle is not None:
                handle.cancel()
        if self._loop is not None:
            self.hub.close()
            self._pump()
            self.link.publish(self._prefix + "hub/status", self._status(False), 1, True)
            await self.link.stop()
        await asyncio.to_thread(self.store.close)

    # --- producing and asking, for applications in this process ---

    def define(
        self,
        topic: str,
        kind: str = "log",
        direction: str = "cloud_to_edge",
        partitions: int = 1,
        strategy: str = "last_write_wins",
        merge_hash: bytes = b"",
        feed_filter: str = "",
    ) -> "asyncio.Future[None]":
        """Define a topic at once; arguments as of TopicDefinition. Await what is returned to have it committed. Raises UsageError where
        something is not allowed, or the topic is defined and differs."""
        return self._publisher.define(topic, TopicDefinition(kind, direction, partitions, strategy, merge_hash, feed_filter))

    async def produce(
        self,
        topic: str,
        value: bytes | str,
        key: bytes | str | None = None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
    ) -> Produced:
        """Write a record to a topic that flows down to edges, and wait until it is committed: from then on it is on its way to all who
        take part. Text becomes UTF-8. Raises UsageError; StreamlineError where it will never be committed."""
        return await self._publisher.produce(topic, _bytes(value), None if key is None else _bytes(key), headers, timestamp_ms)

    async def delete(self, topic: str, key: bytes | str) -> Produced:
        """Write that a key of a keyed topic is deleted; as `produce`."""
        return await self._publisher.delete(topic, _bytes(key))

    def get(self, topic: str, key: bytes | str) -> bytes | None:
        """The value that is shown of a key, as far as it is committed; None where it was never written, or is deleted. Raises
        UsageError, CorruptRecord."""
        return self.resolve(topic, key).value

    def resolve(self, topic: str, key: bytes | str) -> Shown:
        """As `get`, with the versions that stand and the rule."""
        definition = self.hub.streams.definition(topic)
        if definition is None or definition.kind != "keyed":
            raise UsageError("topic %r %s" % (topic, "is not known here" if definition is None else "is a log: it has no keys to ask for"))
        checked = check_key(_bytes(key))
        records = self.store.load_records(topic, partition_of(checked, definition.partitions), checked)
        rule = Rule(topic, definition, self._merges.get(topic))
        return rule.show(checked, siblings([standing(record) for record in records]))

    # --- what comes in ---

    def _on_message(self, topic: str, payload: bytes) -> None:
        if self._stopping:
            return
        node, _, what = topic.removeprefix(self._prefix + "n/").rpartition("/")
        if topic == self._prefix + "hub/status":
            self._on_own_status(payload)
            return
        try:
            check_node_id(node)
            if what == "tx":
                self.hub.receive(node, payload)
            elif what == "status":
                self.hub.node_status(node, _online(payload))
            else:
                raise ProtocolError("nothing of ours")
        except (ProtocolError, UsageError) as error:
            # Whoever can publish can send nonsense; it is counted, and no session suffers.
            self.strange_messages += 1
            log.debug("%s: %s", topic, error)
        self._wake()

    def _on_own_status(self, payload: bytes) -> None:
        """The will of an earlier connection of ours may come after the birth of this one: say again that we live."""
        try:
            online = _online(payload)
        except ProtocolError:
            online = False
        if not online:
            self._publish_birth()

    def _on_up(self) -> None:
        self._broker_trouble = False
        self._say("connected to %s" % self.url)
        self._publish_birth()
        self._wake()

    def _publish_birth(self) -> None:
        self.link.publish(self._prefix + "hub/status", self._status(True), 1, True)

    def _status(self, online: bool) -> bytes:
        return json.dumps({"online": online, "boot": self.hub.boot.hex()}).encode()

    def _on_broker_trouble(self, reason: str) -> None:
        if not self._broker_trouble:
            self._broker_trouble = True
            self._say("broker %s: %s; trying again until it is there" % (self.url, reason))

    def _committed_in_thread(self, ticket: int, error: Exception | None) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._committed, ticket, error)

    def _committed(self, ticket: int, error: Exception | None) -> None:
        if error is not None and not self._store_trouble:
            self._say("nothing can be stored: %s" % error)
        elif error is None and self._store_trouble:
            self._say("the store takes records again")
        self._store_trouble = error is not None
        self.hub.committed(ticket, error)
        self._publisher.committed(error)
        if not self._stopping:
            self._wake()

    # --- the hub's turn ---

    def _wake(self) -> None:
        """Give the hub its turn soon: once for all that comes in until then."""
        if self._turn_due is None and self._loop is not None and not self._stopping:
            self._turn_due = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = None
        if self._loop is None or self._stopping:
            return
        deadline_ms = self.hub.tick()
        self._pump()
        while self.hub.notices:
            self._say(self.hub.notices.pop(0))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline_ms >= 0:
            wait_secs = max(0, deadline_ms - self._clock.monotonic_ms()) / 1000
            self._timer = self._loop.call_later(wait_secs, self._turn)

    def _pump(self) -> None:
        """Frames to the link, while it takes them."""
        link = self.link
        while link.connected and link.unsent_bytes < UNSENT_BYTES_MAX:
            item = self.hub.next_frame()
            if item is None:
                return
            node, frame = item
            link.publish("%sn/%s/rx" % (self._prefix, node), bytes(frame))


def _bytes(given: bytes | str) -> bytes:
    return given.encode() if isinstance(given, str) else bytes(given)


def _online(payload: bytes) -> bool:
    """The `online` of a status message. Raises ProtocolError where it is none."""
    try:
        status = json.loads(payload[:STATUS_BYTES_MAX])
    except (ValueError, RecursionError):
        raise ProtocolError("a status that is not JSON")
    if not isinstance(status, dict) or not isinstance(status.get("online"), bool):
        raise ProtocolError("a status that does not say whether it is online")
    return bool(status["online"])
