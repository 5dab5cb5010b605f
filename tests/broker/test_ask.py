"""Asking a node from afar: a real agent process behind a real mosquitto, the command line on the other side, and who means it harm."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from board_process import serve, until
from mosquitto import Mosquitto
from streamline_core import ask
from streamline_host.broker_url import BrokerUrl
from streamline_host.mqtt_link import MqttLink

sys.path.insert(0, str(Path(__file__).parents[1] / "host"))
from agent_process import ENVIRONMENT, AgentProcess

CONFIG = """
node_id: n1
cloud_endpoint: mqtt://%s127.0.0.1:%d
sync: {retry: {initial_ms: 50, max_ms: 200}%s}
sync_topics: [t, {topic: k, partitions: 3}]
local_topics: [here, {topic: set, kind: keyed}]
consumers: [{name: dash, topic: here}]
"""
PROTOCOL = Path(__file__).parents[2] / "docs" / "PROTOCOL.md"
FLOOD = 10_000
GROWTH_BYTES_MAX = 48 << 20


@pytest.fixture
def agent(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[AgentProcess]:
    agent = AgentProcess(tmp_path, CONFIG % ("", mosquitto.port, ""))
    agent.start()
    until(lambda: json.loads(agent.cli("status", "--json").stdout)["link"]["connected"])
    yield agent
    if agent.process is not None and agent.process.poll() is None:
        agent.kill()


def afar(port: int, *words: str, node: str = "n1", user: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", "--node", node, "--endpoint", "mqtt://%s127.0.0.1:%d" % (user, port)]
    return subprocess.run([*command, *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, cwd="/", check=False)


def told(port: int, *words: str) -> Any:
    done = afar(port, *words, "--json", "--timeout", "20")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def with_link(port: int, node: str, work: Callable[[MqttLink, list[bytes]], Awaitable[None]], user: str = "") -> list[bytes]:
    """Do `work` on a connection of our own; returns all that the node said meanwhile."""
    said: list[bytes] = []

    async def main() -> None:
        url = BrokerUrl.parse("mqtt://%s127.0.0.1:%d" % (user, port))
        topics = [("streamline/1/default/n/%s/say" % node, 0)]
        link = MqttLink(url, "tester-%s" % user.rstrip("@"), subscriptions=topics, on_message=lambda topic, payload: said.append(payload))
        link.start()
        while not link.connected:
            await asyncio.sleep(0.02)
        await work(link, said)
        await link.stop()

    asyncio.run(main())
    return said


def test_what_is_said_from_afar_is_what_the_control_socket_says(agent: AgentProcess, mosquitto: Mosquitto) -> None:
    agent.cli("produce", "here", stdin=b"a\nb\n")
    for words in ("ledger", "topics", "queue", "consumers", "health"):
        near = json.loads(agent.cli(words, "--json").stdout)
        assert told(mosquitto.port, words) == near, words
    near, far = json.loads(agent.cli("status", "--json").stdout), told(mosquitto.port, "status")
    assert set(far) == set(near) and far["streams"] == near["streams"] and far["pid"] == agent.process.pid
    assert set(told(mosquitto.port, "resources")) == set(json.loads(agent.cli("resources", "--json").stdout))
    assert told(mosquitto.port, "sync", "status")["pending"] == 0
    for words in ("status", "ledger", "topics", "queue", "consumers", "health", "resources"):
        done = afar(mosquitto.port, words)
        assert done.returncode == 0 and done.stdout and not done.stderr, done


def test_the_broker_may_come_from_the_configuration(agent: AgentProcess) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamline_edge.cli", "edge", "--config", str(agent.config), "--node", "n1", "topics"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "here" in done.stdout, done


def test_whoever_is_paused_or_outside_of_a_window_answers_all_the_same(agent: AgentProcess, mosquitto: Mosquitto) -> None:
    agent.cli("sync", "pause")
    agent.cli("produce", "t", stdin=b"a\n")
    assert told(mosquitto.port, "sync", "status")["state"] == "paused" and told(mosquitto.port, "queue")["depth"] == 1
    agent.stop()
    agent.config.write_text(CONFIG % ("", mosquitto.port, ", condition: 'file:never'") + "\ndata_dir: d\n")
    agent.start()
    agent.cli("sync", "resume")
    until(lambda: json.loads(agent.cli("status", "--json").stdout)["link"]["connected"])
    assert told(mosquitto.port, "sync", "status")["state"] == "waiting"
    assert told(mosquitto.port, "health") == {"healthy": True, "problems": []}


def test_nothing_can_be_changed_from_afar(agent: AgentProcess, mosquitto: Mosquitto) -> None:
    before = agent.cli("ledger").stdout
    for words in (
        ("sync", "now"), ("sync", "pause"), ("sync", "plan", "--budget", "1MB"), ("resources", "limit", "--cpu", "50"),
        ("consumers", "forget", "dash"), ("produce", "t"), ("consume", "t"), ("set", "set", "k", "v"), ("delete", "set", "k"),
        ("get", "set", "k"), ("watch", "set"), ("top",), ("config", "show"), ("mesh", "status"),
    ):  # fmt: skip
        done = afar(mosquitto.port, *words)
        lines = done.stderr.splitlines()
        assert done.returncode == 2 and len(lines) == 1 and "--node only asks; " in lines[0] and not done.stdout, done
    assert agent.cli("ledger").stdout == before and told(mosquitto.port, "sync", "status")["state"] != "paused"
    done = subprocess.run(agent.command("status", "--fleet", "x"), env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--fleet is for asking from afar; say which node with --node" in done.stderr


def test_who_does_not_answer_is_told_of_in_one_line_with_exit_code_3(agent: AgentProcess, mosquitto: Mosquitto) -> None:
    def silent(*words: str, **more: Any) -> str:
        begun = time.monotonic()
        done = afar(mosquitto.port, *words, **more)
        assert done.returncode == 3 and len(done.stderr.splitlines()) == 1 and not done.stdout, done
        assert time.monotonic() - begun < 7
        return done.stderr

    assert "knows of no node n2 in fleet default" in silent("status", "--timeout", "1", node="n2")
    assert "knows of no node n1 in fleet other" in silent("status", "--timeout", "1", "--fleet", "other")
    agent.kill()
    assert "n1 is offline since its last word" in silent("status")
    mosquitto.kill()
    assert "no connection to mqtt://127.0.0.1" in silent("status")
    for words, what in ((("--timeout", "0"), "--timeout"), (("--fleet", "a/b"), "node id"), (("--ca-file", "x"), "no TLS")):
        done = afar(mosquitto.port, "status", *words)
        assert done.returncode == 2 and what in done.stderr, done
    assert afar(mosquitto.port, "status", node="+").returncode == 2


def test_two_askers_at_once_get_each_their_own_answer(agent: AgentProcess, mosquitto: Mosquitto) -> None:
    words = ("topics", "ledger", "queue", "consumers")
    with ThreadPoolExecutor(len(words)) as pool:
        answers = list(pool.map(lambda word: told(mosquitto.port, word), words))
    assert answers == [json.loads(agent.cli(word, "--json").stdout) for word in words]


def test_what_cannot_be_read_is_dropped_and_the_next_is_answered(agent: AgentProcess, mosquitto: Mosquitto) -> None:
    odd = [b"", b"{}", b"[" * 256, b"\xff" * 100, b"x" * 100_000, b'{"id": "a", "op": "status"' + b" " * 300 + b"}"]
    odd += [b'{"id": "%s", "op": "status"}' % id for id in (b"", b"a b", b"../x", b"x" * 65)]
    odd += [b'{"id": 5, "op": "status"}', b'{"id": "a"}']

    async def work(link: MqttLink, said: list[bytes]) -> None:
        for payload in odd:
            link.publish("streamline/1/default/n/n1/ask", payload)
        link.publish("streamline/1/default/n/n1/ask", b'{"id": "good", "op": "topics"}')
        for _ in range(200):
            if said:
                break
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.7)

    said = with_link(mosquitto.port, "n1", work)
    assert [json.loads(piece.split(b"\n")[0])["id"] for piece in said] == ["good"]


def test_answers_to_others_and_strangers_words_do_not_mix_in(agent: AgentProcess, mosquitto: Mosquitto) -> None:
    async def work(link: MqttLink, said: list[bytes]) -> None:
        asked = asyncio.create_task(asyncio.to_thread(told, mosquitto.port, "topics"))
        while not asked.done():
            for id in (b"other", b"'; x", b"0" * 16):
                link.publish("streamline/1/default/n/n1/say", b'{"id": "%s", "piece": 0, "last": true}\n{"topics": []}' % id)
            link.publish("streamline/1/default/n/n1/say", b"\x00" * 5000)
            await asyncio.sleep(0.005)
        assert {row["topic"] for row in asked.result()} == {"t", "k", "here", "set"}

    with_link(mosquitto.port, "n1", work)


def test_a_flood_of_questions_takes_nothing_from_sync_and_little_memory(agent: AgentProcess, mosquitto: Mosquitto, tmp_path: Path) -> None:
    agent.cli("produce", "t", stdin=b"".join(b"line %d of some length\n" % n for n in range(50_000)))
    process = psutil.Process(agent.process.pid)
    before = process.memory_info().rss
    cloud = serve(mosquitto.port, tmp_path / "cloud.db")
    begun = time.monotonic()
    try:

        async def work(link: MqttLink, said: list[bytes]) -> None:
            for n in range(FLOOD):
                link.publish("streamline/1/default/n/n1/ask", b'{"id": "f%d", "op": "status"}' % n)
                if n % 100 == 0:
                    await asyncio.sleep(0)
            while link.unsent_bytes:
                await asyncio.sleep(0.01)
            await asyncio.sleep(3)

        said = with_link(mosquitto.port, "n1", work)
        secs = time.monotonic() - begun
        until(lambda: json.loads(agent.cli("ledger", "--json").stdout)[-1]["pending"] == 0)
    finally:
        cloud.kill()
        cloud.wait()
    rows = {row["topic"]: row for row in json.loads(agent.cli("ledger", "--json").stdout)}
    assert rows["t"]["delivered"] == 50_000, rows["t"]
    assert 0 < len(said) < (secs + 2) * 5 and max(map(len, said)) <= ask.PIECE_BYTES_MAX, (len(said), secs)
    grown = process.memory_info().rss - before
    assert grown < GROWTH_BYTES_MAX, grown
    assert len(told(mosquitto.port, "topics")) == 4


def test_the_access_list_of_the_documentation_lets_operators_ask_and_nodes_nothing_more(tmp_path: Path) -> None:
    rules = re.findall(r"```\n(pattern .*?)```", PROTOCOL.read_text(), re.S)[0]
    (tmp_path / "acl").write_text(rules)
    broker = Mosquitto(tmp_path, options=["acl_file %s" % (tmp_path / "acl")])
    broker.start()
    agent = AgentProcess(tmp_path, CONFIG % ("n1@", broker.port, ""))
    try:
        agent.start()
        until(lambda: json.loads(agent.cli("status", "--json").stdout)["link"]["connected"])
        assert afar(broker.port, "health", user="operator@").stdout == "healthy\n"
        for user in ("n2@", "n1@", ""):
            assert afar(broker.port, "health", "--timeout", "1", user=user).returncode == 3, user

        async def say(link: MqttLink, said: list[bytes]) -> None:
            link.publish("streamline/1/default/n/n1/say", b"from another node")
            link.publish("streamline/1/default/n/n1/ask", b'{"id": "a", "op": "topics"}')
            await asyncio.sleep(0.7)

        async def listen(link: MqttLink, said: list[bytes]) -> None:
            await asyncio.to_thread(with_link, broker.port, "none", say, "n2@")
            link.publish("streamline/1/default/n/n1/say", b"from the operator")
            await asyncio.sleep(0.3)

        assert with_link(broker.port, "n1", listen, "operator@") == []
    finally:
        if agent.process is not None:
            agent.kill()
        broker.kill()
