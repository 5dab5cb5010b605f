"""The node's link over a socket: MQTT 3.1.1, QoS 0 for frames.

Rule: what is asked of the broker is asked anew on each connection; a frame is handed over when all before it is written.
Must not know: what is in a frame.
"""

import ujson

from streamline_core.errors import ProtocolError, QueueFull, UsageError
from streamline_core.mqtt import MqttClient

from .carrier import Carrier
from .tcp import open_tcp

KEEPALIVE_SECS = 30
PORTS = {"mqtt": 1883, "mqtts": 8883}
READ_BYTES = 1024
BOOT_CHARS_MAX = 64
_NO_TLS = (OSError, ValueError, MemoryError)


def parse_url(url):
    """(scheme, host, port). Raises UsageError for what this build cannot reach."""
    scheme, found, rest = url.partition("://")
    host, _, port = rest.rstrip("/").rpartition("@")[2].partition(":")
    if not found or scheme not in PORTS or not host or (port and not port.isdigit()):
        raise UsageError("cloud_endpoint %r: this build takes mqtt://HOST[:PORT] and mqtts://HOST[:PORT]" % url)
    return scheme, host, int(port) if port else PORTS[scheme]


class BoardLink(Carrier):
    """config: an EdgeConfig whose cloud_endpoint is a broker; the others are a Carrier's."""

    def __init__(self, config, node, clock, entropy, poll):
        self._url = parse_url(config.cloud_endpoint)
        super().__init__(config, node, clock, entropy, poll, "%s://%s:%d" % self._url)
        branch = "streamline/1/%s/" % config.fleet
        self._tx = branch + "n/%s/tx" % config.node_id
        self._rx = branch + "n/%s/rx" % config.node_id
        self._status = branch + "n/%s/status" % config.node_id
        self._hub = branch + "hub/status"
        number = bytearray(3)
        entropy.fill(number)
        self._connection = int.from_bytes(number, "little")  # tells this life's will from that of an earlier one
        self._subscribing = 0  # subscriptions not answered yet
        self._buf = bytearray(READ_BYTES)
        if self._url[0] == "mqtts" and config.ca_file is None:
            raise UsageError("cloud_endpoint %s needs ca_file: without it nobody knows who the broker is" % config.cloud_endpoint)
        user, password = _credentials(config)
        will = (self._status, self._presence(False), 1, True)
        self._mqtt = MqttClient(
            config.node_id, KEEPALIVE_SECS, user, password, will, packet_bytes_max=max(1024, config.frame_bytes_max + 256)
        )

    def _presence(self, online):
        return ujson.dumps({"online": online, "connection": self._connection}).encode()

    def _begin(self, now_ms):
        scheme, host, port = self._url
        sock = open_tcp(host, port)
        if scheme == "mqtts":
            try:
                return _tls(sock, host, self._config)
            except _NO_TLS:
                sock.close()
                raise
        return sock

    def _begun(self, now_ms):
        self._subscribing = 0
        self._mqtt.connect(now_ms)  # from here on its time limit holds, for the way to the broker too

    def _over(self, now_ms):
        self._mqtt.receive(b"", now_ms)
        while self._mqtt.next_event() is not None:
            pass

    def _due_ms(self, now_ms):
        return self._mqtt.deadline_ms(now_ms)

    def _room(self):
        return self._buf

    def _arrived(self, count, now_ms):
        self._mqtt.receive(memoryview(self._buf)[:count] if count else b"", now_ms)
        self._events(now_ms)
        return count

    def _tick(self, now_ms):
        self._mqtt.tick(now_ms)
        self._events(now_ms)

    def _events(self, now_ms):
        while True:
            event = self._mqtt.next_event()
            if event is None:
                return
            kind = event[0]
            if kind == "message":
                self._message(event[1], event[2])
            elif kind == "connected":
                for topic, qos in ((self._rx, 0), (self._hub, 1), (self._status, 1)):
                    self._mqtt.subscribe(topic, qos)
                    self._subscribing += 1
            elif kind == "subscribed" and self._subscribing:  # not to questions: a broker that lets nobody ask is none the worse
                if event[2][0] == 0x80:
                    raise OSError("the broker refuses a subscription: look at its access rules for %s" % self._config.node_id)
                self._subscribing -= 1
                if not self._subscribing:
                    self._mqtt.publish(self._status, self._presence(True), 1, True)
                    self._up(now_ms)
                    self._mqtt.subscribe(self._rx[:-2] + "ask")
            elif kind in ("lost", "refused"):
                raise OSError("the broker: %s" % (event[1],))

    def _message(self, topic, payload):
        if topic == self._rx:
            self._node.link.receive(payload)
        elif topic.endswith("/ask"):
            self._asked(payload)
        elif topic == self._hub or topic == self._status:
            try:
                said = ujson.loads(bytes(payload))
                online, boot = said["online"] is True, str(said.get("boot", ""))[:BOOT_CHARS_MAX]
            except (ValueError, KeyError, TypeError, AttributeError):
                return  # whoever can publish can send nonsense
            if topic == self._hub:
                self._node.link.hub_status(online, boot)
            elif not online:  # the death of an earlier connection, which the broker saw after our birth
                self._mqtt.publish(self._status, self._presence(True), 1, True)

    def _next_bytes(self):
        data = self._mqtt.data_to_send()
        if data is None and self._mqtt.connected and not self._subscribing:
            piece = self._next_piece()
            if piece is not None:
                self._mqtt.publish(self._rx[:-2] + "say", piece)
            else:
                frame = self._next_frame()
                if frame is not None:
                    self._mqtt.publish(self._tx, frame)
            data = self._mqtt.data_to_send()
        return data

    def _written(self, count):
        self._mqtt.sent(count)

    def close(self):
        """Say goodbye, as far as the socket takes it."""
        if self._stream is not None and self._mqtt.connected:
            try:
                self._mqtt.publish(self._status, self._presence(False), 1, True)
                self._mqtt.disconnect()
                self._write()
            except (OSError, ProtocolError, QueueFull, UsageError):
                pass
            self._stream.close()


def _credentials(config):
    """(user, password) from the password file, whose mode must keep others out; the user is the node. Raises UsageError."""
    if config.password_file is None:
        return None, None
    try:
        with open(config.password_file) as file:
            return config.node_id, file.read().strip()
    except OSError as error:
        raise UsageError("password_file: %s: cannot be read: %s" % (config.password_file, error))


def _tls(sock, host, config):
    """A verified TLS connection over a socket that does not wait. Raises OSError, ValueError."""
    from .secure import SecureSocket  # a board without TLS does not pay for it

    return SecureSocket(sock, host, config)
