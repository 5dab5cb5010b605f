"""The bridge as a process between a real mosquitto and its store, killed with SIGKILL while an agent streams into it."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mosquitto import Mosquitto
from streamline_cloud.bridge import Bridge
from streamline_cloud.chunk_records import chunk_values
from streamline_cloud.store_reader import StoreReader
from streamline_core.config import EdgeConfig
from streamline_edge.agent import Agent
from streamline_host.codecs import codecs
from streamline_host.mqtt_link import MqttLink

pytestmark = pytest.mark.broker
ROOT = Path(__file__).parents[2]


def edge(mosquitto: Mosquitto, folder: Path, name: str) -> Agent:
    return Agent(
        EdgeConfig.from_dict(
            {
                "node_id": name,
                "cloud_endpoint": "mqtt://127.0.0.1:%d" % mosquitto.port,
                "data_dir": str(folder / name),
                "sync": {"retry": {"initial_ms": 50, "max_ms": 500}},
                "sync_topics": [{"topic": "logs"}],
            }
        )
    )


async def until(condition: Callable[[], object], secs: float = 100) -> None:
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, "waited %d s in vain" % secs
        await asyncio.sleep(0.05)


def stored(path: Path) -> dict[str, list[bytes]]:
    values: dict[str, list[bytes]] = {}
    with StoreReader(path, codecs("zstd")) as reader:
        assert all(row.adds_up for row in reader.ledger())
        for chunk in reader.chunks("logs") if reader.topics() else ():
            values.setdefault(chunk.node, []).extend(chunk_values(chunk, reader.codecs))
    return values


def serve(mosquitto: Mosquitto, path: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")])}
    words = ["serve", "--broker", "mqtt://127.0.0.1:%d" % mosquitto.port, "--store", "sqlite:///%s" % path]
    process = subprocess.Popen([sys.executable, "-m", "streamline_cloud", *words], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None and b"storing in" in process.stdout.readline()
    process.stdout.close()
    return process


def test_kill_9_of_the_bridge_and_of_the_broker(mosquitto: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    sent: dict[str, list[bytes]] = {"alpha": [], "beta": []}

    async def produce(agent: Agent, name: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            first = len(sent[name])
            values = [b"%s %d" % (name.encode(), n) for n in range(first, first + 200)]
            await agent.produce_many("logs", values)
            sent[name].extend(values)
            await asyncio.sleep(0.005)

    async def run() -> None:
        process = serve(mosquitto, path)
        stop = asyncio.Event()
        async with edge(mosquitto, tmp_path, "alpha") as a, edge(mosquitto, tmp_path, "beta") as b:
            work = [asyncio.create_task(produce(a, "alpha", stop)), asyncio.create_task(produce(b, "beta", stop))]
            for round_ in range(3):
                before = sum(map(len, stored(path).values()))
                await until(lambda n=before: sum(map(len, stored(path).values())) > n)
                process.kill()
                process.wait()
                if round_ == 1:
                    mosquitto.kill()
                    mosquitto.start()
                process = await asyncio.to_thread(serve, mosquitto, path)
            stop.set()
            await asyncio.gather(*work)
            await until(lambda: sum(map(len, stored(path).values())) >= sum(map(len, sent.values())))
        process.terminate()
        assert process.wait(60) == 0
        assert stored(path) == sent

    asyncio.run(run())


def test_garbage_hurts_nobody(mosquitto: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    prefix = "streamline/1/default/"

    async def run() -> None:
        said: list[str] = []
        bridge = Bridge("mqtt://127.0.0.1:%d" % mosquitto.port, path, say=said.append)
        await bridge.start()
        heard: list[dict[str, Any]] = []
        stranger = MqttLink(
            bridge.url,
            "stranger",
            subscriptions=[(prefix + "hub/status", 1)],
            on_message=lambda topic, payload: heard.append(json.loads(payload)),
        )
        stranger.start()
        await until(lambda: heard and stranger.connected)
        assert heard == [{"online": True, "boot": bridge.hub.boot.hex()}]
        for topic in ("n/alpha/tx", "n/-bad-/tx", "n/alpha/status", "n/%s/tx" % ("x" * 200)):
            for payload in (b"", b"\x00", os.urandom(5000), b"{}", b"[" * 2000):
                assert stranger.publish(prefix + topic, payload)
        stranger.publish(prefix + "hub/status", b'{"online": false, "boot": "old"}', 1, True)
        await until(lambda: len(heard) >= 3)
        assert heard[2] == heard[0]
        async with edge(mosquitto, tmp_path, "alpha") as agent:
            await agent.produce("logs", b"sound", ack="cloud")
        assert bridge.strange_messages >= 5 and stored(path) == {"alpha": [b"sound"]}
        assert said == ["connected to %s" % bridge.url]
        await bridge.stop()
        await until(lambda: heard[-1]["online"] is False)
        await stranger.stop()

    asyncio.run(run())
