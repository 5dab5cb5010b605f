"""The small MQTT client against a real mosquitto, over a real socket."""

import select
import socket
import time

import pytest

from streamline_core.mqtt import MqttClient

WAIT_S = 60


class Shell:
    """A socket around a client, as firmware has one: write what there is, read what comes, tick when due."""

    def __init__(self, port, client, chunk_bytes=4096):
        self.client = client
        self.events = []
        self.buffer = bytearray(chunk_bytes)
        self.open(port)

    def open(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self.socket.setblocking(False)
        self.client.connect(self.now())

    def now(self):
        return time.monotonic_ns() // 1_000_000

    def step(self, wait_s=0.05):
        data = self.client.data_to_send()
        readable, writable, _ = select.select([self.socket], [self.socket] if data is not None else [], [], wait_s)
        if writable:
            try:
                self.client.sent(self.socket.send(data))
            except OSError:
                self.client.receive(b"", self.now())
        if readable:
            try:
                count = self.socket.recv_into(self.buffer)
            except OSError:
                count = 0
            self.client.receive(memoryview(self.buffer)[:count], self.now())
        deadline_ms = self.client.deadline_ms(self.now())
        if deadline_ms is not None and deadline_ms <= self.now():
            self.client.tick(self.now())
        while (event := self.client.next_event()) is not None:
            if event[0] == "message":
                event = (event[0], event[1], bytes(event[2]), *event[3:])
            self.events.append(event)

    def until(self, kind, wait_s=WAIT_S):
        """The first event of that kind not yet seen; the ones before it stay."""
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            for event in self.events:
                if event[0] == kind:
                    self.events.remove(event)
                    return event
            self.step()
        raise AssertionError(f"no {kind!r} event; there were {[event[0] for event in self.events]}")


def connected(port, name, keepalive_secs=30, **options):
    shell = Shell(port, MqttClient(name, keepalive_secs, **options))
    assert shell.until("connected") == ("connected", False)
    return shell


@pytest.mark.parametrize("qos", [0, 1])
def test_both_ways(mosquitto, qos):
    one, two = connected(mosquitto.port, "one"), connected(mosquitto.port, "two")
    for shell, topic in ((one, "to/one"), (two, "to/+")):
        asked = shell.client.subscribe(topic, qos)
        assert shell.until("subscribed") == ("subscribed", asked, bytes([qos]))
    for size in (0, 1, 127, 128, 16384, 65536):
        payload = bytes(n * 31 % 251 for n in range(size))
        packet_id = two.client.publish("to/one", payload, qos)
        if qos:
            assert two.until("published") == ("published", packet_id)
        assert two.until("message") == ("message", "to/one", payload, qos, False)
        assert one.until("message") == ("message", "to/one", payload, qos, False)
    one.client.disconnect()
    while one.client.unsent_bytes:
        one.step()
    assert one.events == [] == two.events


def test_many(mosquitto):
    shell = connected(mosquitto.port, "many")
    shell.client.subscribe("t", 1)
    shell.until("subscribed")
    wanted = [b"%d" % n * 50 for n in range(300)]
    got = []
    at = 0
    end = time.monotonic() + WAIT_S
    while len(got) < len(wanted) and time.monotonic() < end:
        if at < len(wanted) and at - sum(e[0] == "published" for e in shell.events) < 8:
            shell.client.publish("t", wanted[at], 1)
            at += 1
        shell.step(0.001)
        got = [event[2] for event in shell.events if event[0] == "message"]
    assert got == wanted


def test_retained_and_will(mosquitto):
    watcher = connected(mosquitto.port, "watcher")
    watcher.client.subscribe("status/#", 1)
    watcher.until("subscribed")
    dying = connected(mosquitto.port, "dying", will=("status/dying", b"dead", 1, True))
    dying.client.publish("status/dying", b"born", 1, retain=True)
    dying.until("published")
    assert watcher.until("message") == ("message", "status/dying", b"born", 1, False)
    dying.socket.close()
    assert watcher.until("message") == ("message", "status/dying", b"dead", 1, False)
    late = connected(mosquitto.port, "late")
    late.client.subscribe("status/#")
    assert late.until("message") == ("message", "status/dying", b"dead", 0, True)


def test_keepalive(mosquitto):
    shell = connected(mosquitto.port, "idle", keepalive_secs=1)
    end = time.monotonic() + 4  # mosquitto drops a silent client after 1.5 times its keepalive
    while time.monotonic() < end:
        shell.step()
    assert shell.client.connected and shell.events == []


def test_broker_killed(mosquitto):
    shell = connected(mosquitto.port, "survivor")
    mosquitto.kill()
    assert shell.until("lost")[0] == "lost"
    assert not shell.client.connected
    packet_id = shell.client.publish("t", b"kept", 1)
    mosquitto.start()
    shell.open(mosquitto.port)
    assert shell.until("connected") == ("connected", False)
    assert shell.until("published") == ("published", packet_id)


def test_session_kept(mosquitto):
    shell = connected(mosquitto.port, "keeper", clean_session=False)
    shell.client.subscribe("t", 1)
    shell.until("subscribed")
    shell.socket.close()
    shell.client.receive(b"", shell.now())
    assert shell.client.next_event() == ("lost", "closed by the peer")
    other = connected(mosquitto.port, "other")
    other.client.publish("t", b"meanwhile", 1)
    other.until("published")
    shell.open(mosquitto.port)
    assert shell.until("connected") == ("connected", True)
    assert shell.until("message") == ("message", "t", b"meanwhile", 1, False)
