"""The embedded broker: carries frames, keeps strangers out, confines users, says clearly what is wrong."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from streamline_core.errors import UsageError
from streamline_host.broker_url import BrokerUrl
from streamline_host.embedded_broker import EmbeddedBroker
from streamline_host.mqtt_link import MqttLink

pytest.importorskip("amqtt")


async def until(condition: Callable[[], object], secs: float = 60) -> None:
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, "waited %d s in vain" % secs
        await asyncio.sleep(0.01)


def link(url: BrokerUrl, name: str, *filters: str) -> tuple[MqttLink, list[tuple[str, bytes]]]:
    messages: list[tuple[str, bytes]] = []
    made = MqttLink(
        url,
        name,
        subscriptions=[(one, 0) for one in filters],
        on_message=lambda topic, payload: messages.append((topic, payload)),
        retry_secs=(0.05, 0.1),
    )
    made.start()
    return made, messages


def test_what_a_client_published_before_it_went_is_passed_on() -> None:
    """A device wakes up, publishes, has it acknowledged, and goes."""

    async def run() -> None:
        broker = EmbeddedBroker()
        url = await broker.start()
        hub, messages = link(BrokerUrl.parse(url), "hub", "sensors/#")
        await until(lambda: hub.connected)
        await asyncio.to_thread(publish_and_go, broker.port, 2000)
        await until(lambda: len(messages) == 2000)
        assert [int(payload) for _, payload in messages] == list(range(2000))
        await hub.stop()
        await broker.stop()

    asyncio.run(run())


def publish_and_go(port: int, count: int) -> None:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "device")
    client.max_inflight_messages_set(count)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [client.publish("sensors/1/temperature", b"%d" % n, qos=1) for n in range(count)]
    for one in sent:
        one.wait_for_publish(20)
    assert all(one.is_published() for one in sent)
    client.disconnect()
    client.loop_stop()


def test_64_kb_messages_and_retained_ones_and_silence(capfd: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        broker = EmbeddedBroker()
        url = BrokerUrl.parse(await broker.start())
        hub, messages = link(url, "hub", "n/+/tx", "n/+/status")
        node, _ = link(url, "node")
        await until(lambda: hub.connected and node.connected)
        assert node.publish("n/a/status", b"birth", 1, True)
        payloads = [os.urandom(65_536) for _ in range(50)]
        for payload in payloads:
            assert node.publish("n/a/tx", payload)
        await until(lambda: len(messages) == 51)
        assert [payload for topic, payload in messages if topic == "n/a/tx"] == payloads
        late, seen = link(url, "late", "n/#")
        await until(lambda: seen)
        assert set(seen) == {("n/a/status", b"birth")}  # amqtt may say it twice; a status may be repeated
        for one in (hub, node, late):
            await one.stop()
        await broker.stop()

    asyncio.run(run())
    logging.shutdown()
    assert capfd.readouterr() == ("", "")


def test_who_comes_with_another_s_client_id_takes_its_place_and_the_other_hears_of_it() -> None:
    async def run() -> None:
        broker = EmbeddedBroker()
        url = BrokerUrl.parse(await broker.start())
        watcher, seen = link(url, "watcher", "status")
        downs: list[str] = []
        first = MqttLink(
            url, "node", subscriptions=[("rx", 0)], on_down=downs.append, will=("status", b"gone", 1, True), retry_secs=(1000, 1000)
        )
        first.start()
        await until(lambda: first.connected and watcher.connected)
        second, messages = link(url, "node", "rx")
        await until(lambda: second.connected)
        await until(lambda: downs and not first.connected, 10)
        await until(lambda: ("status", b"gone") in seen, 10)
        assert watcher.publish("rx", b"hello")
        await until(lambda: ("rx", b"hello") in messages, 10)  # beside a retained one, which it did not ask for
        for one in (first, second, watcher):
            await one.stop()
        await broker.stop()

    asyncio.run(run())


def test_who_has_not_the_password_cannot_disturb_the_owner_of_a_client_id(tmp_path: Path) -> None:
    async def run() -> None:
        accounts = tmp_path / "accounts"
        accounts.write_text("edge-1:right\n")
        broker = EmbeddedBroker(password_file=accounts)
        await broker.start()
        base = "streamline/1/default/n/edge-1/rx"
        owner, messages = link(BrokerUrl("mqtt", "127.0.0.1", broker.port, None, "edge-1", "right"), "edge-1", base)
        hub, _ = link(broker.own_url, "hub")
        await until(lambda: owner.connected and hub.connected)
        stranger, _ = link(BrokerUrl("mqtt", "127.0.0.1", broker.port, None, "edge-1", "wrong"), "edge-1", base)
        await until(lambda: stranger.last_error)
        assert not stranger.connected and owner.connected
        assert hub.publish(base, b"hello")
        await until(lambda: messages == [(base, b"hello")], 10)
        assert owner.connected and owner.connections == 1
        for one in (stranger, owner, hub):
            await one.stop()
        await broker.stop()

    asyncio.run(run())


def test_passwords_and_confinement(tmp_path: Path) -> None:
    accounts = tmp_path / "accounts"
    accounts.write_text("# user:password\nalpha:secret-a\nbeta:secret:b\n")

    async def run() -> None:
        broker = EmbeddedBroker("0.0.0.0", 0, accounts)
        url = await broker.start()
        assert url == "mqtt://127.0.0.1:%d" % broker.port and "secret" not in repr(broker.own_url)
        port = broker.port
        hub, messages = link(broker.own_url, "hub", "streamline/1/f/n/+/tx", "streamline/1/f/n/+/ask", "free")
        alpha, to_alpha = link(BrokerUrl.parse("mqtt://alpha:secret-a@127.0.0.1:%d" % port), "alpha")
        beta, _ = link(BrokerUrl.parse("mqtt://beta:secret:b@127.0.0.1:%d" % port), "beta", "streamline/1/f/n/beta/rx")
        stranger, _ = link(BrokerUrl.parse("mqtt://alpha:wrong@127.0.0.1:%d" % port), "x")
        nobody, _ = link(BrokerUrl.parse(url), "y")
        spy, _ = link(BrokerUrl.parse("mqtt://alpha:secret-a@127.0.0.1:%d" % port), "z", "streamline/1/f/n/beta/rx")
        await until(lambda: hub.connected and alpha.connected and beta.connected)
        await until(lambda: stranger.last_error and nobody.last_error and spy.last_error)
        assert not stranger.connected and not nobody.connected and not spy.connected
        assert "refused to subscribe" in spy.last_error
        alpha.publish("streamline/1/f/n/beta/tx", b"forged")
        alpha.publish("streamline/1/f/n/alpha/ask", b"forged too")
        alpha.publish("streamline/1/f/n/alpha/tx", b"own")
        alpha.publish("free", b"device")
        await until(lambda: len(messages) == 2)
        assert messages == [("streamline/1/f/n/alpha/tx", b"own"), ("free", b"device")]
        for one in (hub, alpha, beta, stranger, nobody, spy):
            await one.stop()
        await broker.stop()

    asyncio.run(run())


def test_what_it_refuses_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0.0.0.0.*password file"):
        EmbeddedBroker("0.0.0.0")
    bad = tmp_path / "accounts"
    bad.write_text("alpha\n")
    with pytest.raises(UsageError, match="line 1: a line must be user:password"):
        EmbeddedBroker("0.0.0.0", 0, bad)
    with pytest.raises(UsageError, match="No such file"):
        EmbeddedBroker("0.0.0.0", 0, tmp_path / "none")

    async def taken() -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(UsageError, match="port %d of 127.0.0.1 is taken" % port):
                await EmbeddedBroker("127.0.0.1", port).start()

    asyncio.run(taken())


def test_more_clients_than_allowed_wait_until_one_leaves() -> None:
    async def run() -> None:
        broker = EmbeddedBroker(connections_max=2)
        url = BrokerUrl.parse(await broker.start())
        first, _ = link(url, "first")
        second, _ = link(url, "second")
        await until(lambda: first.connected and second.connected)
        assert broker.connections == 2
        third, _ = link(url, "third")
        await asyncio.sleep(0.5)
        assert not third.connected and first.connected and second.connected
        await first.stop()
        await until(lambda: third.connected)
        for one in (second, third):
            await one.stop()
        await broker.stop()

    asyncio.run(run())
