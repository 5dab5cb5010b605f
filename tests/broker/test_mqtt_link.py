"""MqttLink against a real mosquitto: that dies, comes back, refuses, hangs, and is not there at all."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mosquitto import MISSING, Mosquitto, find_mosquitto, free_port
from streamline_host.broker_url import BrokerUrl
from streamline_host.mqtt_link import MqttLink

pytestmark = pytest.mark.broker
FAST = (0.05, 0.2)


class Broker(Mosquitto):
    @property
    def url(self) -> BrokerUrl:
        return BrokerUrl.parse("mqtt://127.0.0.1:%d" % self.port)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Broker]:
    if find_mosquitto() is None:
        pytest.skip(MISSING)
    server = Broker(folder, options=options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running(tmp_path) as server:
        yield server


class Log:
    """A link with everything it said."""

    def __init__(self, url: BrokerUrl, client_id: str, **settings: object) -> None:
        self.messages: list[tuple[object, ...]] = []
        self.ups = 0
        self.downs: list[str] = []
        self.retries: list[str] = []
        self.link = MqttLink(
            url,
            client_id,
            on_message=lambda *message: self.messages.append(message),
            on_up=self._up,
            on_down=self.downs.append,
            on_retry=lambda reason, wait: self.retries.append(reason),
            retry_secs=FAST,
            **settings,  # type: ignore[arg-type]
        )
        self.link.start()

    def _up(self) -> None:
        assert self.link.connected
        self.ups += 1


async def until(condition: Callable[[], object], secs: float = 60) -> None:
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, "waited %d s in vain" % secs
        await asyncio.sleep(0.01)


def test_messages_arrive_whole_and_in_order(broker: Broker) -> None:
    async def run() -> None:
        hub = Log(broker.url, "hub", subscriptions=[("n/+/tx", 0)])
        node = Log(broker.url, "node")
        await until(lambda: hub.ups and node.ups)
        payloads = [os.urandom(size) for size in (0, 1, 2, 127, 128, 65_000, 65_536, 300_000)] * 5
        for payload in payloads:
            await until(lambda: node.link.unsent_bytes == 0)
            assert node.link.publish("n/a/tx", payload)
        await until(lambda: len(hub.messages) == len(payloads))
        assert [message[1] for message in hub.messages] == payloads
        assert {message[0] for message in hub.messages} == {"n/a/tx"}
        assert node.link.bytes_out == hub.link.bytes_in == sum(map(len, payloads))
        await hub.link.stop()
        await node.link.stop()
        assert not hub.downs and not node.downs

    asyncio.run(run())


def test_kill_9_of_the_broker_is_a_state(broker: Broker) -> None:
    async def run() -> None:
        hub = Log(broker.url, "hub", subscriptions=[("x", 0), ("y/#", 1)])
        for round_ in range(3):
            await until(lambda n=round_ + 1: hub.ups == n)
            assert hub.link.publish("y/z", b"%d" % round_, qos=1)
            await until(lambda n=round_ + 1: len(hub.messages) == n)
            await asyncio.to_thread(broker.kill)
            await until(lambda n=round_ + 1: len(hub.downs) == n)
            assert not hub.link.connected and not hub.link.publish("x", b"lost") and hub.link.unsent_bytes == 0
            if round_ == 1:
                await until(lambda: hub.retries)
                assert "cannot connect to 127.0.0.1:%d" % broker.port in hub.retries[-1]
            await asyncio.to_thread(broker.start)
        await until(lambda: hub.ups == 4)
        await hub.link.stop()
        assert [message[1] for message in hub.messages] == [b"0", b"1", b"2"]

    asyncio.run(run())


def test_unsent_bytes_and_on_writable_while_the_broker_hangs(broker: Broker) -> None:
    async def run() -> None:
        writable: list[int] = []
        node = Log(broker.url, "node")
        node.link.on_writable = lambda: writable.append(node.link.unsent_bytes)
        await until(lambda: node.ups)
        broker.signal(signal.SIGSTOP)
        try:
            sent = 0
            while node.link.unsent_bytes == 0 and sent < 200 << 20:
                assert node.link.publish("x", bytes(60_000))
                sent += 60_000
            assert node.link.unsent_bytes == 60_000
            assert node.link.publish("x", bytes(1000)) and node.link.unsent_bytes == 61_000
        finally:
            broker.signal(signal.SIGCONT)
        await until(lambda: writable)
        assert writable == [0] and node.link.connected
        await node.link.stop()

    asyncio.run(run())


def test_a_broker_that_stops_answering_is_found_out(broker: Broker) -> None:
    async def run() -> None:
        node = Log(broker.url, "node", keepalive_secs=2)
        await until(lambda: node.ups)
        broker.signal(signal.SIGSTOP)
        try:
            await until(lambda: node.downs)
            assert "keep alive" in node.downs[0].lower() or "lost" in node.downs[0]
        finally:
            broker.signal(signal.SIGCONT)
        await until(lambda: node.ups == 2)
        await node.link.stop()

    asyncio.run(run())


def test_the_will_speaks_for_the_dead_only(broker: Broker) -> None:
    async def run() -> None:
        hub = Log(broker.url, "hub", subscriptions=[("s/#", 1)])
        await until(lambda: hub.ups)
        node = Log(broker.url, "node", will=("s/node", b"dead", 1, True))
        await until(lambda: node.ups)
        node.link.publish("s/node", b"gone", 1, True)
        await node.link.stop()
        await until(lambda: hub.messages)
        other = Log(broker.url, "other", will=("s/other", b"dead", 1, True))
        await until(lambda: other.ups)
        os.close(other.link._fd)  # what a crash of the process does
        await until(lambda: len(hub.messages) == 2)
        assert hub.messages == [("s/node", b"gone"), ("s/other", b"dead")]
        await hub.link.stop()

    asyncio.run(run())


def test_manual_ack_redelivers_what_was_not_acknowledged(broker: Broker) -> None:
    async def run() -> None:
        settings = {"subscriptions": [("in", 1)], "manual_ack": True, "clean_session": False}
        first = Log(broker.url, "ingest", **settings)
        source = Log(broker.url, "source")
        await until(lambda: first.ups and source.ups)
        for value in (b"a", b"b", b"c"):
            source.link.publish("in", value, 1)
        await until(lambda: len(first.messages) == 3)
        assert first.link.ack(first.messages[0][2])
        await first.link.stop()
        assert not first.link.ack(first.messages[1][2])
        again = Log(broker.url, "ingest", **settings)
        await until(lambda: len(again.messages) == 2)
        assert [message[1] for message in again.messages] == [b"b", b"c"]
        await again.link.stop()
        await source.link.stop()

    asyncio.run(run())


def test_a_refusal_is_a_reason(tmp_path: Path) -> None:
    async def run(server: Broker) -> None:
        node = Log(server.url, "node")
        await until(lambda: node.retries)
        assert "refused the connection" in node.retries[0] and node.ups == 0 and node.downs == []
        await node.link.stop()

    with running(tmp_path, "allow_anonymous false") as server:
        asyncio.run(run(server))


def test_websockets_carry_large_messages(tmp_path: Path) -> None:
    port = free_port()
    options = ["listener %d 127.0.0.1" % port, "protocol websockets", "allow_anonymous true"]

    async def run() -> None:
        node = Log(BrokerUrl.parse("ws://127.0.0.1:%d" % port), "node", subscriptions=[("x", 0)])
        await until(lambda: node.ups or len(node.retries) > 9)
        if not node.ups:
            pytest.skip("this mosquitto has no WebSockets: %s" % node.retries[0])
        payloads = [os.urandom(size) for size in (10, 65_000, 1, 65_000)]
        for payload in payloads:
            node.link.publish("x", payload)
        await until(lambda: len(node.messages) == 4)
        assert [message[1] for message in node.messages] == payloads
        await node.link.stop()

    with running(tmp_path, *options):
        asyncio.run(run())


def test_tls_is_verified(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate")
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"]
        + ["subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    port = free_port()
    options = ["listener %d" % port, "certfile %s" % cert, "keyfile %s" % key, "allow_anonymous true"]

    async def run() -> None:
        stranger = Log(BrokerUrl.parse("mqtts://localhost:%d" % port), "a")
        await until(lambda: stranger.retries)
        assert "is not trusted" in stranger.retries[0]
        await stranger.link.stop()
        friend = Log(BrokerUrl.parse("mqtts://localhost:%d" % port, ca_file=cert), "b", subscriptions=[("x", 0)])
        await until(lambda: friend.ups)
        payloads = [os.urandom(65_000) for _ in range(20)]
        for payload in payloads:
            friend.link.publish("x", payload)
        await until(lambda: len(friend.messages) == 20)
        assert [message[1] for message in friend.messages] == payloads
        await friend.link.stop()

    with running(tmp_path, *options):
        asyncio.run(run())


@pytest.mark.parametrize("scheme", ["mqtt", "ws"])  # a WebSocket's greeting blocks in the thread
def test_stop_in_the_middle_of_connecting(scheme: str) -> None:
    with socket.socket() as silent:  # accepts, never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()

        async def run() -> None:
            node = Log(BrokerUrl.parse("%s://127.0.0.1:%d" % (scheme, silent.getsockname()[1])), "node")
            await asyncio.sleep(0.1)
            started = time.monotonic()
            await node.link.stop()
            assert not node.ups and not node.downs
            assert time.monotonic() - started < 1.5

        started = time.monotonic()
        asyncio.run(run())
        assert time.monotonic() - started < 3
