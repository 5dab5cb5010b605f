"""The node's link over a socket: MQTT 3.1.1, QoS 0 for frames.

Rule: an unreachable broker is a state, not a crash; at most one frame waits to be written, so that liveness never queues behind data.
Must not know: what is in a frame.
"""

import errno
import gc
import socket

import ujson

from streamline_core.backoff import Backoff
from streamline_core.errors import ProtocolError, QueueFull, UsageError
from streamline_core.mqtt import MqttClient

KEEPALIVE_SECS = 30
PORTS = {"mqtt": 1883, "mqtts": 8883}
READ_BYTES = 1024
READS_PER_TURN = 64
ASK_FREE_BYTES = 20480  # of the heap; with less, nobody is answered: sync needs it more
ASK_MS = 250  # a flood of questions is no reason to look for memory all the time
FRAMES_PER_TURN = 16  # then records get their turn
BOOT_CHARS_MAX = 64
_POLLIN, _POLLOUT = 1, 4
_CONNECTING = (errno.EINPROGRESS, errno.EAGAIN)


def parse_url(url):
    """(scheme, host, port). Raises UsageError for what this build cannot reach."""
    scheme, found, rest = url.partition("://")
    host, _, port = rest.rstrip("/").rpartition("@")[2].partition(":")
    if not found or scheme not in PORTS or not host or (port and not port.isdigit()):
        raise UsageError("cloud_endpoint %r: this build takes mqtt://HOST[:PORT] and mqtts://HOST[:PORT]" % url)
    return scheme, host, int(port) if port else PORTS[scheme]


class BoardLink:
    """config: an EdgeConfig with a cloud_endpoint; node: the core's; poll: of the loop, which calls `turn` when there is something
    to do."""

    def __init__(self, config, node, clock, entropy, poll):
        self._config = config
        self._node = node
        self._clock = clock
        self._poll = poll
        self.url = parse_url(config.cloud_endpoint)
        branch = "streamline/1/%s/" % config.fleet
        self._tx = branch + "n/%s/tx" % config.node_id
        self._rx = branch + "n/%s/rx" % config.node_id
        self._status = branch + "n/%s/status" % config.node_id
        self._hub = branch + "hub/status"
        number = bytearray(3)
        entropy.fill(number)
        self._connection = int.from_bytes(number, "little")  # tells this life's will from that of an earlier one
        self._backoff = Backoff(entropy, config.sync.retry.initial_ms, config.sync.retry.max_ms)
        self._socket = None
        self._next_try_ms = 0
        self._waiting_for = 0
        self._subscribing = 0  # subscriptions not answered yet
        self._buf = bytearray(READ_BYTES)
        self.answers = None  # what answers questions, while somebody asks
        self.seen = None  # what it has to know the next time
        self.up_ms = self._ask_at_ms = 0
        if self.url[0] == "mqtts" and config.ca_file is None:
            raise UsageError("cloud_endpoint %s needs ca_file: without it nobody knows who the broker is" % config.cloud_endpoint)
        user, password = _credentials(config)
        will = (self._status, self._presence(False), 1, True)
        self._mqtt = MqttClient(
            config.node_id, KEEPALIVE_SECS, user, password, will, packet_bytes_max=max(1024, config.frame_bytes_max + 256)
        )

    def _presence(self, online):
        return ujson.dumps({"online": online, "connection": self._connection}).encode()

    def deadline_ms(self):
        """When `turn` wants to be called (monotonic ms), -1 for never."""
        if self._socket is None:
            return self._next_try_ms
        deadline = self._mqtt.deadline_ms(self._clock.monotonic_ms())
        if self.answers is not None:
            return self.answers.deadline_ms(deadline)
        return -1 if deadline is None else deadline

    def turn(self):
        """Read, act, write: whatever can be done without waiting."""
        now_ms = self._clock.monotonic_ms()
        if self._socket is None:
            if now_ms < self._next_try_ms:
                return
            self._connect(now_ms)
        if self._socket is not None:
            try:
                self._read(now_ms)
                self._mqtt.tick(now_ms)
                self._events()
                self._write()
            except (OSError, ProtocolError, QueueFull) as error:
                self._close(str(error))

    def _connect(self, now_ms):
        scheme, host, port = self.url
        sock = None
        try:
            # Resolving a name blocks: MicroPython has no other way to do it. So does a TLS handshake.
            address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0][-1]
            sock = socket.socket()
            if scheme == "mqtts":
                sock.connect(address)
                sock = _tls(sock, host, self._config)
                sock.setblocking(False)
            else:
                sock.setblocking(False)
                _begin(sock, address)
        except (OSError, ValueError) as error:
            if sock is not None:
                sock.close()
            self._later("no connection: %s" % error)
            return
        self._socket = sock
        self._poll.register(sock, _POLLIN)
        self._waiting_for = _POLLIN
        self._subscribing = 0
        self._mqtt.connect(now_ms)  # from here on its time limit holds, for the way to the broker too

    def _later(self, reason):
        now_ms = self._clock.monotonic_ms()
        self._next_try_ms = now_ms + self._backoff.wait_ms()
        self._node.link_down(reason)

    def _close(self, reason):
        if self._socket is not None:
            self._poll.unregister(self._socket)
            self._socket.close()
            self._socket = None
        self._mqtt.receive(b"", self._clock.monotonic_ms())
        while self._mqtt.next_event() is not None:
            pass
        self._backoff.down(self._clock.monotonic_ms())
        self._later(reason)

    def _read(self, now_ms):
        for _ in range(READS_PER_TURN):
            try:
                n = self._socket.readinto(self._buf)
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    return
                raise
            if n is None:
                return
            self._mqtt.receive(memoryview(self._buf)[:n] if n else b"", now_ms)
            self._events()
            if not n or self._socket is None or n < READ_BYTES:
                return

    def _events(self):
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
                    self.up_ms = self._clock.monotonic_ms()
                    self._backoff.up(self.up_ms)
                    self._mqtt.publish(self._status, self._presence(True), 1, True)
                    self._node.link_up()
                    self._mqtt.subscribe(self._rx[:-2] + "ask")
            elif kind in ("lost", "refused"):
                raise OSError("the broker: %s" % (event[1],))

    def _message(self, topic, payload):
        if topic == self._rx:
            self._node.receive(payload)
        elif topic.endswith("/ask"):
            self._asked(payload)
        elif topic == self._hub or topic == self._status:
            try:
                said = ujson.loads(bytes(payload))
                online, boot = said["online"] is True, str(said.get("boot", ""))[:BOOT_CHARS_MAX]
            except (ValueError, KeyError, TypeError, AttributeError):
                return  # whoever can publish can send nonsense
            if topic == self._hub:
                self._node.hub_status(online, boot)
            elif not online:  # the death of an earlier connection, which the broker saw after our birth
                self._mqtt.publish(self._status, self._presence(True), 1, True)

    def _asked(self, payload):
        now_ms = self._clock.monotonic_ms()
        if self.answers is None and now_ms >= self._ask_at_ms:
            self._ask_at_ms = now_ms + ASK_MS
            gc.collect()
            if gc.mem_free() >= ASK_FREE_BYTES:
                try:
                    from .answers import BoardAnswers  # a board that nobody asks does not pay for it

                    self.answers = BoardAnswers(self._config, self._node, self)
                except MemoryError:
                    pass  # it is free in small pieces only
        if self.answers is not None:
            self.answers.receive(payload)

    def _write(self):
        frames = 0
        while True:
            data = self._mqtt.data_to_send()
            if data is None:
                if not self._mqtt.connected or self._subscribing:
                    break
                piece = self.answers.next_piece() if self.answers is not None else None
                if piece is not None:
                    self._mqtt.publish(self._rx[:-2] + "say", piece)
                    continue
                frame = self._node.next_frame() if frames < FRAMES_PER_TURN else None
                if frame is None:
                    break
                frames += 1
                self._mqtt.publish(self._tx, frame)
                continue
            try:
                n = self._socket.write(data)
            except OSError as error:
                if error.errno not in _CONNECTING:
                    raise
                n = None
            if not n:
                self._wait_for(_POLLIN | _POLLOUT)
                return
            self._mqtt.sent(n)
        self._wait_for(_POLLIN | _POLLOUT if frames == FRAMES_PER_TURN else _POLLIN)

    def _wait_for(self, events):
        if self._waiting_for != events:
            self._poll.modify(self._socket, events)
            self._waiting_for = events

    def close(self):
        """Say goodbye, as far as the socket takes it."""
        if self._socket is not None and self._mqtt.connected:
            try:
                self._mqtt.publish(self._status, self._presence(False), 1, True)
                self._mqtt.disconnect()
                self._write()
            except (OSError, ProtocolError, QueueFull, UsageError):
                pass
            self._socket.close()


def _begin(sock, address):
    """Start connecting without waiting for it. Raises OSError."""
    try:
        sock.connect(address)
    except OSError as error:
        if error.errno not in _CONNECTING:
            raise


def _credentials(config):
    """(user, password) from the password file, whose mode must keep others out; the user is the node."""
    if config.password_file is None:
        return None, None
    with open(config.password_file) as file:
        return config.node_id, file.read().strip()


def _tls(sock, host, config):
    """A verified TLS connection. Raises OSError, ValueError."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=config.ca_file)
    if config.cert_file is not None:
        context.load_cert_chain(config.cert_file, config.key_file)
    return context.wrap_socket(sock, server_hostname=host)
