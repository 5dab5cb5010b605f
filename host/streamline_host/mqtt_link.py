"""One MQTT connection that keeps itself up, inside an asyncio loop and without threads of its own.

Rule: an unreachable broker is a state, never an exception. What `publish` accepted on a connection dies with it, and
nothing is kept for later: reliability is the session's business (frames are QoS 0); a retained message is made again in
`on_up`. Callbacks run on the loop; the error of one goes to the loop's exception handler and the link stays. Each
connection has a paho client of its own, so that no state of a dead one survives.
Must not know: frames, nodes, configuration.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from streamline_core.errors import UsageError

from .broker_url import BrokerUrl
from .mqtt_connect import CONNECT_SECS_MAX, Refused, close_socket, connect, words

log = logging.getLogger("streamline.mqtt")

RETRY_SECS = (1.0, 60.0)
"""The first and the largest wait between tries; each is drawn from 0 up to its bound (full jitter)."""
STABLE_SECS = 30.0
"""A link that was up this long starts again from the shortest wait when it is lost."""
MISC_SECS = 1.0
PACKETS_PER_TURN = 32
"""Packets read before other work of the loop gets its turn."""
HELD_MESSAGES_MAX = 4096
"""Messages that may arrive before SUBACK (a kept session's); beyond that the connection is given up."""


class MqttLink:
    """
    url: the broker. client_id: MQTT's. subscriptions: [(filter, qos 0 or 1)], made anew on each connection.
    on_message(topic, payload): payload is bytes; with `manual_ack` a third argument comes, an opaque int for `ack`.
    on_up(): connected and subscribed. on_down(reason): was up, is no longer. on_retry(reason, wait_secs): a try failed.
    on_writable(): `unsent_bytes` fell to 0 after it had not been. will: (topic, payload, qos, retain).
    dispensable: filters of `subscriptions` that a broker may refuse; the link is up without them.
    """

    def __init__(
        self,
        url: BrokerUrl,
        client_id: str,
        *,
        subscriptions: Sequence[tuple[str, int]] = (),
        on_message: Callable[..., None] | None = None,
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[str], None] | None = None,
        on_retry: Callable[[str, float], None] | None = None,
        on_writable: Callable[[], None] | None = None,
        will: tuple[str, bytes, int, bool] | None = None,
        keepalive_secs: int = 30,
        manual_ack: bool = False,
        clean_session: bool = True,
        retry_secs: tuple[float, float] = RETRY_SECS,
        dispensable: Collection[str] = (),
    ) -> None:
        if not clean_session and not client_id:
            raise UsageError("a kept MQTT session needs a client id")
        self.url = url
        self.client_id = client_id
        self.subscriptions = list(subscriptions)
        self.on_message = on_message
        self.on_up = on_up
        self.on_down = on_down
        self.on_retry = on_retry
        self.on_writable = on_writable
        self.will = will
        self.keepalive_secs = keepalive_secs
        self.connected = False
        self.last_error = ""
        self.connections = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages_in = 0
        self.messages_out = 0
        self._manual_ack = manual_ack
        self._clean_session = clean_session
        self.retry_secs = retry_secs
        self._dispensable = dispensable
        self._tls = url.ssl_context()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._client: paho.Client | None = None
        self._fd = -1
        self._writing = False
        self._ended: asyncio.Future[str] | None = None
        self._unsent: deque[tuple[paho.MQTTMessageInfo, int]] = deque()
        self._unsent_bytes = 0
        self._arrived: deque[tuple[str, bytes, int]] = deque()
        self._delivering = False
        self._misc: asyncio.TimerHandle | None = None
        self._subscribed: asyncio.Future[None] | None = None

    # --- what a shell calls ---

    def start(self) -> None:
        """Begin connecting, and keep at it until `stop`. Call on the loop."""
        if self._task is None:
            self._loop = asyncio.get_running_loop()
            self._task = self._loop.create_task(self._run(), name="mqtt %s" % self.client_id)

    async def stop(self, flush_secs: float = 1.0) -> None:
        """Send what is unsent (within `flush_secs`), say DISCONNECT (which drops the will), close. No `on_down`."""
        task, self._task = self._task, None
        if task is None:
            return
        client = self._client
        if client is not None and self._fd >= 0:
            self.connected = False
            client.disconnect()
            self._write()
            deadline = time.monotonic() + flush_secs
            while self._fd >= 0 and client.want_write() and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @property
    def unsent_bytes(self) -> int:
        """Payload bytes that `publish` accepted and the socket has not taken yet."""
        return self._unsent_bytes

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> bool:
        """Hand a message to the connection; False if there is none (nothing is kept). Never blocks."""
        client = self._client
        if not self.connected or client is None:
            return False
        info = client.publish(topic, payload, qos, retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        self._unsent.append((info, len(payload)))
        self._unsent_bytes += len(payload)
        self.bytes_out += len(payload)
        self.messages_out += 1
        self._write()
        return True

    def ack(self, delivery: int) -> bool:
        """Acknowledge a message (QoS 1, `manual_ack`). False for one of an earlier connection: it is sent again."""
        client = self._client
        if client is None or self._fd < 0 or delivery >> 16 != self.connections:
            return False
        if delivery & 0xFFFF:
            client.ack(delivery & 0xFFFF, 1)
            self._write()
        return True

    # --- one connection after the other ---

    async def _run(self) -> None:
        tries = 0
        while True:
            up_at = None
            try:
                await self._connect()
                up_at = time.monotonic()
                assert self._ended is not None
                reason = await self._ended
            except (OSError, ValueError, paho.WebsocketConnectionError, Refused) as error:
                reason = words(error, self.url)
            finally:
                self.connected = False
                self._discard()
            if self._task is not asyncio.current_task():
                return
            self.last_error = reason
            if up_at is not None and time.monotonic() - up_at >= STABLE_SECS:
                tries = 0
            wait_secs = random.uniform(0, min(self.retry_secs[1], self.retry_secs[0] * 2 ** min(tries, 16)))
            tries += 1
            log.info("%s: %s; next try in %.1f s", self.url, reason, wait_secs)
            if up_at is not None:
                self._call(self.on_down, reason)
            else:
                self._call(self.on_retry, reason, wait_secs)
            await asyncio.sleep(wait_secs)

    async def _connect(self) -> None:
        """Returns when subscribed; raises OSError, ValueError, WebsocketConnectionError or Refused."""
        loop = asyncio.get_running_loop()
        client = self._new_client()
        sock = await connect(client, self.url, self.keepalive_secs)
        self._client = client
        self.connections += 1
        self._ended = loop.create_future()
        self._subscribed = subscribed = loop.create_future()
        self._fd = sock.fileno()
        loop.add_reader(self._fd, self._readable)
        self._write()
        self._misc = loop.call_later(MISC_SECS, self._tick)
        ended = self._ended
        await asyncio.wait((subscribed, ended), timeout=CONNECT_SECS_MAX, return_when=asyncio.FIRST_COMPLETED)
        if subscribed.done() and not ended.done():
            subscribed.result()
            self.connected = True
            log.info("%s: connected", self.url)
            self._call(self.on_up)
            self._deliver()
            return
        if subscribed.done() and subscribed.exception() is not None:
            subscribed.result()
        raise Refused(ended.result() if ended.done() else "no answer to CONNECT within %d s" % CONNECT_SECS_MAX)

    def _new_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self.client_id,
            clean_session=self._clean_session,
            transport="tcp" if self.url.websocket_path is None else "websockets",
            manual_ack=self._manual_ack,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_SECS_MAX
        client.max_inflight_messages_set(0)
        if self.url.websocket_path is not None:
            client.ws_set_options(self.url.websocket_path)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if self.url.username is not None:
            client.username_pw_set(self.url.username, self.url.password)
        if self.will is not None:
            client.will_set(*self.will)
        # Its presence makes paho leave every write to us; we look at want_write() ourselves.
        client.on_socket_register_write = _leave_it
        client.on_connect = self._connack
        client.on_subscribe = self._suback
        client.on_message = self._publish_arrived
        client.on_disconnect = self._disconnected
        client.on_socket_close = self._socket_closes
        return client

    def _discard(self) -> None:
        client, self._client = self._client, None
        self._unwatch()
        self._unsent.clear()
        self._unsent_bytes = 0
        self._arrived.clear()
        if self._misc is not None:
            self._misc.cancel()
        if client is not None:
            close_socket(client)

    def _unwatch(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0 and self._loop is not None:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
        self._writing = False

    # --- what paho calls, always from within loop_read, loop_write or loop_misc below ---

    def _connack(self, client: paho.Client, userdata: object, flags: object, reason_code: ReasonCode, properties: object) -> None:
        if client is not self._client or self._subscribed is None or self._subscribed.done():
            return
        if reason_code.is_failure:
            self._subscribed.set_exception(Refused("the broker refused the connection: %s" % reason_code))
        elif self.subscriptions:
            client.subscribe(self.subscriptions)
        else:
            self._subscribed.set_result(None)

    def _suback(self, client: paho.Client, userdata: object, mid: int, codes: list[ReasonCode], properties: object) -> None:
        if client is not self._client or self._subscribed is None or self._subscribed.done():
            return
        refused = [item[0] for item, code in zip(self.subscriptions, codes, strict=False) if code.is_failure]
        for topic in [topic for topic in refused if topic in self._dispensable]:
            log.warning("%s: the broker refused to subscribe us to %s; see its access list", self.url, topic)
            refused.remove(topic)
        if refused:
            self._subscribed.set_exception(Refused("the broker refused to subscribe us to %s" % ", ".join(refused)))
        else:
            self._subscribed.set_result(None)

    def _publish_arrived(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        payload = bytes(message.payload)
        self.bytes_in += len(payload)
        self.messages_in += 1
        mid = message.mid if message.qos else 0
        self._arrived.append((message.topic, payload, self.connections << 16 | mid))

    def _disconnected(self, client: paho.Client, userdata: object, flags: object, reason_code: ReasonCode, properties: object) -> None:
        if client is self._client:
            self._lost("the connection was lost (%s)" % str(reason_code).lower())

    def _socket_closes(self, client: paho.Client, userdata: object, sock: object) -> None:
        if client is self._client:
            self._unwatch()  # now: its number may be another file's a moment later

    def _lost(self, reason: str) -> None:
        self.connected = False
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(reason)

    # --- what the loop calls ---

    def _readable(self) -> None:
        client = self._client
        if client is None:
            return
        for _ in range(PACKETS_PER_TURN):
            before = len(self._arrived)
            client.loop_read()
            if self._fd < 0 or len(self._arrived) == before:
                break
        if self._fd >= 0:
            if client.want_write() and not self._writing:
                self._write()
            self._look_into_tls(client)
        if self.connected:
            self._deliver()
        elif len(self._arrived) > HELD_MESSAGES_MAX:
            self._lost("more than %d messages before the broker's SUBACK" % HELD_MESSAGES_MAX)

    def _look_into_tls(self, client: paho.Client) -> None:
        """Bytes that TLS has decrypted already make no socket readable: come back for them by ourselves."""
        sock = client.socket()
        pending = getattr(sock, "pending", None)
        if self._loop is not None and pending is not None and pending() > 0:
            self._loop.call_soon(self._readable)

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        while self._arrived:
            topic, payload, delivery = self._arrived.popleft()
            if self._manual_ack:
                self._call(self.on_message, topic, payload, delivery)
            else:
                self._call(self.on_message, topic, payload)
        self._delivering = False

    def _call(self, callback: Callable[..., None] | None, *arguments: object) -> None:
        if callback is None:
            return
        try:
            callback(*arguments)
        except Exception as error:
            context = {"message": "a callback of the MQTT link failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _writable(self) -> None:
        waited = self._unsent_bytes > 0
        self._write()
        if waited and self._unsent_bytes == 0 and self.connected:
            self._call(self.on_writable)

    def _write(self) -> None:
        """Give the socket what it takes now, and watch it if that was not all."""
        client = self._client
        if client is None or self._fd < 0:
            return
        client.loop_write()
        if self._fd < 0:
            return
        unsent = self._unsent
        if not client.want_write():
            unsent.clear()
            self._unsent_bytes = 0
        while unsent and unsent[0][0].is_published():
            self._unsent_bytes -= unsent.popleft()[1]
        if client.want_write() != self._writing and self._loop is not None:
            self._writing = not self._writing
            if self._writing:
                self._loop.add_writer(self._fd, self._writable)
            else:
                self._loop.remove_writer(self._fd)

    def _tick(self) -> None:
        """Keepalive: paho pings when it is time, and gives up on a broker that does not answer."""
        client = self._client
        if client is None or self._fd < 0 or self._loop is None:
            return
        client.loop_misc()
        if self._fd >= 0:
            self._write()
            self._misc = self._loop.call_later(MISC_SECS, self._tick)


def _leave_it(client: paho.Client, userdata: object, sock: object) -> None:
    """See `_new_client`."""
