"""Topics that flow down and keyed topics, between real agents, a real mosquitto and the bridge with its store."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mosquitto import Mosquitto
from streamline_cloud.bridge import Bridge
from streamline_cloud.control_client import ControlClient, NoBridge
from streamline_cloud.lone_hub import LoneHub
from streamline_cloud.publisher import Produced
from streamline_cloud.store_reader import StoreReader
from streamline_core.config import EdgeConfig
from streamline_edge.agent import Agent
from streamline_host.codecs import codecs

pytestmark = pytest.mark.broker
ROOT = Path(__file__).parents[2]
STATE = {"topic": "state", "kind": "keyed", "direction": "bidirectional"}
PROMO = {"topic": "promo", "direction": "cloud_to_edge"}


def edge(mosquitto: Mosquitto, folder: Path, name: str) -> Agent:
    return Agent(
        EdgeConfig.from_dict(
            {
                "node_id": name,
                "cloud_endpoint": "mqtt://127.0.0.1:%d" % mosquitto.port,
                "data_dir": str(folder / name),
                "sync": {"retry": {"initial_ms": 50, "max_ms": 500}},
                "sync_topics": [STATE, PROMO],
            }
        )
    )


async def until(condition: Callable[[], object], secs: float = 100) -> None:
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, "waited %d s in vain" % secs
        await asyncio.sleep(0.05)


def command(path: Path, name: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "streamline_cloud", name, "--store", "sqlite:///%s" % path, *words]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")])}


def serve(mosquitto: Mosquitto, path: Path) -> "subprocess.Popen[bytes]":
    words = command(path, "serve", "--broker", "mqtt://127.0.0.1:%d" % mosquitto.port)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=environment())
    assert process.stdout is not None and b"storing in" in process.stdout.readline()
    process.stdout.close()
    return process


async def cloud(path: Path, name: str, *words: str, given: bytes = b"", code: int = 0) -> str:
    """What a command prints."""

    def run() -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(command(path, name, *words), input=given, capture_output=True, env=environment(), timeout=60)

    done = await asyncio.to_thread(run)
    assert done.returncode == code, (name, words, done.stderr.decode())
    return done.stdout.decode()


async def promotions(agent: Agent) -> list[bytes]:
    return [getattr(item, "value", b"a gap") async for item in agent.consume("promo")]


def received(path: Path, topic: str = "promo") -> dict[str, int]:
    with StoreReader(path, codecs("zstd")) as reader:
        return {row.node: row.next for row in reader.tables.feeds(topic)} if topic in [row.name for row in reader.topics()] else {}


def shown(agent: Agent, key: bytes) -> "bytes | None":
    return agent.node.tables.get("state", key)


def test_a_promotion_reaches_two_edges_once_across_restarts(mosquitto: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"

    async def run() -> None:
        await cloud(path, "define", "promo", "--direction", "cloud_to_edge")
        await cloud(path, "produce", "promo", "before anybody was there")
        process = await asyncio.to_thread(serve, mosquitto, path)
        async with edge(mosquitto, tmp_path, "alpha") as alpha:
            async with edge(mosquitto, tmp_path, "beta") as beta:
                lines = [b"promo %d" % n for n in range(500)]
                await cloud(path, "produce", "promo", given=b"\n".join(lines))
                expected = [b"before anybody was there", *lines]
                await until(lambda: received(path) == {"alpha": 501, "beta": 501})
                assert await promotions(alpha) == expected and await promotions(beta) == expected
            process.kill()
            process.wait()
            await cloud(path, "produce", "promo", "while no bridge runs")
            rows = json.loads(await cloud(path, "feeds", "promo", "--offset", "501", "--json"))
            assert [(row["node"], row["has"], row["behind"]) for row in rows] == [("alpha", "no", 1), ("beta", "no", 1)]
            process = await asyncio.to_thread(serve, mosquitto, path)
            await cloud(path, "produce", "promo", "while beta is away")
            await until(lambda: received(path)["alpha"] == 503)
            rows = json.loads(await cloud(path, "feeds", "promo", "--offset", "502", "--json"))
            assert [(row["node"], row["has"], row["behind"]) for row in rows] == [("alpha", "yes", 0), ("beta", "no", 2)]
            async with edge(mosquitto, tmp_path, "beta") as beta:
                await until(lambda: received(path) == {"alpha": 503, "beta": 503})
                expected += [b"while no bridge runs", b"while beta is away"]
                assert await promotions(alpha) == expected and await promotions(beta) == expected
        async with edge(mosquitto, tmp_path, "alpha") as alpha:
            await cloud(path, "produce", "promo", "last")
            await until(lambda: received(path)["alpha"] == 504)
            assert await promotions(alpha) == [*expected, b"last"]
        process.terminate()
        assert process.wait(60) == 0

    asyncio.run(run())


def test_kill_9_of_the_bridge_loses_nothing_that_it_confirmed(mosquitto: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    sent, confirmed = 0, {}

    async def publish(client: ControlClient) -> None:
        """Until the bridge is gone."""
        nonlocal sent
        under_way: list[tuple[bytes, asyncio.Future[Produced]]] = []
        try:
            while True:
                for _ in range(50):
                    value = b"promo %d" % sent
                    sent += 1
                    under_way.append((value, await client.accept("promo", value)))
                await asyncio.sleep(0.002)
        except NoBridge:
            pass
        for value, future in under_way:
            try:
                confirmed[value] = (await future).cloud_offset
            except NoBridge:
                pass

    async def run() -> None:
        await cloud(path, "define", "promo", "--direction", "cloud_to_edge")
        async with edge(mosquitto, tmp_path, "alpha") as alpha:
            for _ in range(3):
                process = await asyncio.to_thread(serve, mosquitto, path)
                client = ControlClient(path)
                await client.open()
                before = len(confirmed)
                work = asyncio.create_task(publish(client))
                await asyncio.sleep(0.5)
                process.kill()
                process.wait()
                await work
                await client.close()
                assert len(confirmed) > before
            process = await asyncio.to_thread(serve, mosquitto, path)
            with StoreReader(path, codecs("zstd")) as reader:
                assert all(row.adds_up for row in reader.ledger())
                stored = [record.value for _, _, record in reader.read_records("promo")]
            assert len(set(stored)) == len(stored) and all(stored[confirmed[value]] == value for value in confirmed)
            await until(lambda: received(path) == {"alpha": len(stored)})
            assert await promotions(alpha) == stored
            process.terminate()
            assert process.wait(60) == 0

    asyncio.run(run())


def test_an_edge_that_was_away_while_many_commands_wrote(mosquitto: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    url = "mqtt://127.0.0.1:%d" % mosquitto.port

    async def run() -> None:
        bridge = Bridge(url, path)
        await bridge.start()
        bridge.define("promo")
        bridge.define("state", "keyed", "bidirectional")
        expected = [b"%d" % n for n in range(10)]
        for value in expected:
            await bridge.produce("promo", value)
        await bridge.produce("state", "first", "k")
        async with edge(mosquitto, tmp_path, "alpha") as alpha:
            await until(lambda: received(path) == {"alpha": 10} and received(path, "state") == {"alpha": 1})
            assert await promotions(alpha) == expected
        await bridge.stop()
        for n in range(40):  # each opens the store anew
            async with LoneHub(path) as publisher:
                await publisher.produce("promo", b"alone %d" % n)
                await publisher.produce("state", b"%d" % n, b"k")
                await publisher.produce("state", b"%d" % n, b"k%d" % n)
            expected.append(b"alone %d" % n)
        bridge = Bridge(url, path)
        await bridge.start()
        async with edge(mosquitto, tmp_path, "alpha") as alpha:
            await until(lambda: received(path) == {"alpha": 50} and received(path, "state") == {"alpha": 81})
            assert await promotions(alpha) == expected
            assert alpha.node.downlink.feeds["promo", 0].receiver.repeats == 0
            assert shown(alpha, b"k") == bridge.get("state", "k") == b"39" and len(bridge.resolve("state", "k").versions) == 1
            # More openings of the hub than a version names: that the first is superseded is found when both sides compare.
            await until(lambda: len(alpha.node.tables.resolve("state", b"k")[0]) == 1)
            assert len(alpha.node.tables.keys("state")) == 41
        await bridge.stop()

    asyncio.run(run())


def test_a_key_is_read_wherever_it_was_written(mosquitto: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"

    async def run() -> None:
        process = await asyncio.to_thread(serve, mosquitto, path)
        async with edge(mosquitto, tmp_path, "alpha") as alpha, edge(mosquitto, tmp_path, "beta") as beta:
            await alpha.produce("state", b"22", b"heating", ack="cloud")  # the edge's offer defines the topic
            assert await cloud(path, "get", "state", "heating") == "22\n"
            await until(lambda: shown(beta, b"heating") == b"22")
            await cloud(path, "produce", "state", "on", "--key", "light")
            await until(lambda: shown(alpha, b"light") == shown(beta, b"light") == b"on")
            await beta.produce("state", b"25", b"heating", ack="cloud")
            await until(lambda: shown(alpha, b"heating") == b"25")
            await cloud(path, "delete", "state", "heating")
            await until(lambda: shown(alpha, b"heating") is shown(beta, b"heating") is None)
            assert await cloud(path, "keys", "state") == "light\n" and await cloud(path, "conflicts", "--json") == "[]\n"
            await cloud(path, "get", "state", "heating", code=1)
            rows = json.loads(await cloud(path, "feeds", "state", "--key", "light", "--json"))
            assert [(row["node"], row["has"]) for row in rows] == [("alpha", "yes"), ("beta", "yes")]
        process.terminate()
        assert process.wait(60) == 0

    asyncio.run(run())


def test_what_was_written_while_cut_off_converges(mosquitto: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"

    async def run() -> None:
        bridge = Bridge("mqtt://127.0.0.1:%d" % mosquitto.port, path)
        await bridge.start()
        bridge.define("state", "keyed", "bidirectional")
        async with edge(mosquitto, tmp_path, "alpha") as alpha, edge(mosquitto, tmp_path, "beta") as beta:
            await bridge.produce("state", "common", "k")
            await until(lambda: shown(alpha, b"k") == shown(beta, b"k") == b"common")
            mosquitto.kill()
            await until(lambda: not (alpha.uplink.link.connected or beta.uplink.link.connected or bridge.link.connected))
            await alpha.produce("state", b"alpha wrote", b"k")
            await asyncio.sleep(0.02)
            await bridge.produce("state", "the cloud wrote", "k")
            await asyncio.sleep(0.02)
            await beta.produce("state", b"beta wrote", b"k")
            await asyncio.gather(*[alpha.produce("state", b"%d" % n, b"a%d" % n) for n in range(50)])
            await asyncio.gather(*[beta.produce("state", b"%d" % n, b"b%d" % n) for n in range(50)])
            mosquitto.start()

            def agree() -> bool:
                everywhere = [len(agent.node.tables.resolve("state", b"k")[0]) for agent in (alpha, beta)]
                everywhere.append(len(bridge.resolve("state", "k").versions))
                return everywhere == [3, 3, 3] and all(len(agent.node.tables.keys("state")) == 101 for agent in (alpha, beta))

            await until(agree)
            assert bridge.get("state", "k") == shown(alpha, b"k") == shown(beta, b"k") == b"beta wrote"
            row = json.loads(await cloud(path, "conflicts", "explain", "state", "k", "--json"))
            assert row["conflict"] == "concurrent write" and "last_write_wins" in row["rule"]
            assert [(v["node"], v["side"], v["shown"]) for v in row["versions"]] == [
                ("alpha", "edge", False),
                ("cloud", "cloud", False),
                ("beta", "edge", True),
            ]
            assert all([seen["node"] for seen in v["had_seen"]] == ["cloud"] for v in row["versions"] if v["node"] != "cloud")
            await alpha.produce("state", b"settled", b"k", ack="cloud")
            await until(lambda: bridge.get("state", "k") == shown(beta, b"k") == b"settled")
            assert await cloud(path, "conflicts", "--json") == "[]\n"
            head = json.loads(await cloud(path, "topics", "--json"))
            head = next(row["records"] for row in head if row["topic"] == "state")
            await until(lambda: received(path, "state") == {"alpha": head, "beta": head})
        await bridge.stop()

    asyncio.run(run())
