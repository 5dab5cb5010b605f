"""A board at the end of a serial line: a real MicroPython in a small heap, a real host agent as its gateway, a real mosquitto, the real
bridge and store, and between board and gateway a line that hurts bytes."""

import asyncio
import json
import os
import pty
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mpy
from board_process import ROOT, Board, serve, stored, until
from mosquitto import Mosquitto
from noisy_line import NoisyLine
from streamline_host.broker_url import BrokerUrl
from streamline_host.mqtt_link import MqttLink

sys.path.insert(0, str(ROOT / "tests" / "host"))
from agent_process import ENVIRONMENT, AgentProcess

RECORD_BYTES = 213
ASKED_HEAP = "352k"  # what answers loads is not frozen here
HURT_BYTES = (1500, 20000)  # from the gateway, where little goes, and from the board
GATEWAY = """
node_id: gate
cloud_endpoint: mqtt://127.0.0.1:%d
sync: {retry: {initial_ms: 50, max_ms: 400}}
sync_topics: [here]
serial: [{port: "socket://127.0.0.1:%d"%s}]
"""

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]


def lines(count: int, first: int = 0) -> list[bytes]:
    return [(b'{"n": %d, "text": "' % n).ljust(RECORD_BYTES - 2, b"x") + b'"}' for n in range(first, first + count)]


def text(values: list[bytes]) -> bytes:
    return b"".join([value + b"\n" for value in values])


class World:
    """A broker, a gateway, a line and a board at its end."""

    def __init__(self, mosquitto: Mosquitto, folder: Path, ports: tuple[int, int], seed: int, more: str = "", **board: Any) -> None:
        self.mosquitto = mosquitto
        self.line = NoisyLine(ports, seed)
        self.gateway = AgentProcess(folder, GATEWAY % (mosquitto.port, ports[0], more))
        (folder / "board").mkdir()
        self.board = Board(folder / "board", 0, cloud_endpoint="serial+tcp://127.0.0.1:%d" % ports[1], **board)
        self.store = folder / "cloud.db"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start_board(self) -> "subprocess.Popen[bytes]":
        process = self.board.start("--lines", "logs")
        self.processes.append(process)
        return process

    def serve(self) -> None:
        self.processes.append(serve(self.mosquitto.port, self.store))

    def row(self) -> dict[str, Any]:
        """What the gateway says of its line."""
        row: dict[str, Any] = json.loads(self.gateway.cli("status", "--json").stdout)["serial"][0]
        return row

    def presence(self) -> Any:
        """The board's retained status at the broker, or None."""
        found: list[bytes] = []

        async def look() -> None:
            topics = [("streamline/1/default/n/board/status", 1)]
            url = BrokerUrl.parse("mqtt://127.0.0.1:%d" % self.mosquitto.port)
            link = MqttLink(url, "looker", subscriptions=topics, on_message=lambda topic, payload: found.append(payload))
            link.start()
            deadline = time.monotonic() + 20
            while not (link.connected and found) and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            await link.stop()

        asyncio.run(look())
        return json.loads(found[0])["online"] if found else None

    def ask(self, *words: str) -> "subprocess.CompletedProcess[str]":
        where = ["--node", "board", "--endpoint", "mqtt://127.0.0.1:%d" % self.mosquitto.port, "--timeout", "20"]
        command = [sys.executable, "-m", "streamline_edge.cli", "edge", *where, *words, "--json"]
        return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, cwd="/", check=False)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        if self.gateway.process is not None and self.gateway.process.poll() is None:
            self.gateway.kill()
        self.line.close()


@pytest.fixture
def make(mosquitto: Mosquitto, tmp_path: Path, free_port: Callable[[], int], seed: int) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def world(more: str = "", **board: Any) -> World:
        worlds.append(World(mosquitto, tmp_path, (free_port(), free_port()), seed, more, **board))
        return worlds[-1]

    yield world
    for one in worlds:
        one.close()


def test_a_line_that_hurts_bytes_and_both_its_ends_killed_lose_and_repeat_nothing(make: Callable[..., World]) -> None:
    world = make()
    world.line.hurt_bytes = HURT_BYTES
    world.serve()
    world.gateway.start()
    process = world.start_board()
    fed = promised = refused_here = refused_there = 0

    def feed(count: int) -> None:
        nonlocal fed
        assert process.stdin is not None
        process.stdin.write(text(lines(count, fed)))
        process.stdin.flush()
        fed += count

    for killed in ("gateway", "board", "gateway", "board"):
        base = len(stored(world.store))
        feed(2000)
        until(lambda base=base: len(stored(world.store)) >= base + 200, 60)
        if killed == "gateway":
            refused_there += world.row()["refused"]
            world.gateway.kill()
            feed(300)
            world.gateway.start()
        else:
            promised = max(promised, world.board.durable())
            refused_here += world.board.status()["packets_refused"]
            process.kill()
            process.wait()
            promised = max(promised, world.board.durable())
            process = world.start_board()
    feed(500)
    assert process.stdin is not None
    process.stdin.close()
    process.wait(60)
    last = world.board.run("--lines", "logs", "--until-drained", timeout_s=60)
    refused_here += last["packets_refused"]
    refused_there += world.row()["refused"]
    (row,) = last["streams"]
    got = stored(world.store)
    # A kill may cut a batch off in the middle of its write: never reported durable, and said to be torn rather than forgotten.
    assert set(row["lost"]) <= {"torn"} and row["pending"] == 0, row
    assert row["produced"] == len(got) + row["lost"].get("torn", 0) >= promised, (row, len(got), promised)
    numbers = [json.loads(value)["n"] for value in got]
    assert numbers == sorted(set(numbers)), "out of order, or twice"
    assert world.line.hurts > 20 and refused_here > 0 and refused_there > 0, (world.line.hurts, refused_here, refused_there)
    print("%d bytes hurt; %d packets refused by the board, %d by the gateway; %d records" %
          (world.line.hurts, refused_here, refused_there, len(got)))


def test_a_carried_board_is_born_and_dies_at_the_broker_as_one_with_a_network_does(make: Callable[..., World]) -> None:
    world = make()
    world.serve()
    world.gateway.start()
    process = world.start_board()
    until(lambda: world.board.status().get("state") == "open")
    assert world.presence() is True
    row = world.row()
    assert (row["node"], row["state"], row["reason"]) == ("board", "carrying", "")
    world.line.cut = True  # as if the board had no power: no connection breaks
    until(lambda: world.row()["state"] != "carrying")
    assert world.presence() is False
    until(lambda: world.board.status()["state"] == "offline")
    world.line.cut = False
    until(lambda: world.board.status()["state"] == "open")
    assert world.presence() is True
    world.gateway.kill()
    until(lambda: world.presence() is False)
    world.gateway.start()
    until(lambda: world.presence() is True)
    world.mosquitto.kill()
    until(lambda: world.board.status()["state"] == "offline")
    until(lambda: "the gateway: cannot connect to 127.0.0.1" in world.board.status()["why"])
    assert world.row()["state"] == "connecting" and world.row()["reason"]
    world.mosquitto.start()
    until(lambda: world.board.status()["state"] == "open")
    assert world.gateway.stop() == 0
    until(lambda: world.presence() is False)
    assert process.poll() is None


def test_questions_reach_a_board_through_its_line(make: Callable[..., World]) -> None:
    world = make()
    world.board.heap = ASKED_HEAP
    world.gateway.start()
    process = world.start_board()
    assert process.stdin is not None
    process.stdin.write(text(lines(300)))
    process.stdin.flush()
    until(lambda: world.board.durable() == 300 and world.row()["state"] == "carrying")
    status = json.loads(world.ask("status").stdout)
    assert status["node"] == "board" and status["link"]["endpoint"].startswith("serial+tcp://") and status["link"]["packets"] > 0
    assert status["link"]["packets_refused"] == 0
    assert json.loads(world.ask("ledger").stdout) == status["streams"] and status["streams"][0]["pending"] == 300
    assert json.loads(world.ask("health").stdout) == {"healthy": True, "problems": []}
    world.line.hurt_bytes = HURT_BYTES
    until(lambda: world.ask("ledger").returncode == 0)  # an answer with a hole is asked for again


def test_who_may_not_be_carried_is_refused_in_one_line(make: Callable[..., World], mosquitto: Mosquitto) -> None:
    world = make(", node_id: other")
    world.gateway.start()
    process = world.start_board()
    until(lambda: world.row()["state"] == "refused")
    time.sleep(5)  # it greets again and again
    log = world.gateway.log.read_text()
    assert log.count("node board greets, and only other may") == 1, log
    assert "only other may" in world.board.status()["why"] and world.presence() is None
    process.kill()
    process.wait()
    for config, words in (({"node_id": "gate"}, "so does this node"), ({"node_id": "other", "fleet": "east"}, "of fleet east")):
        given = json.loads(world.board.config.read_text())
        world.board.config.write_text(json.dumps(given | config))
        process = world.start_board()
        until(lambda words=words: words in world.row()["reason"])
        process.kill()
        process.wait()
        assert world.gateway.log.read_text().count(words) == 1
    given.update({"node_id": "other"})
    world.board.config.write_text(json.dumps(given))
    world.start_board()
    until(lambda: world.row()["state"] == "carrying" and world.row()["node"] == "other")


def test_a_terminal_device_on_both_ends(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Two pseudo-terminals, joined as by a cable: pyserial on one, MicroPython's termios on the other."""
    ends = [pty.openpty(), pty.openpty()]
    names = [os.ttyname(end[1]) for end in ends]
    for _, terminal in ends:
        tty.setraw(terminal)

    def join(source: int, target: int) -> None:
        while True:
            try:
                os.write(target, os.read(source, 4096))
            except OSError:
                return

    for source, target in ((0, 1), (1, 0)):
        threading.Thread(target=join, args=(ends[source][0], ends[target][0]), daemon=True).start()
    gateway = AgentProcess(tmp_path, (GATEWAY % (mosquitto.port, 1, "")).replace("socket://127.0.0.1:1", names[0]))
    (tmp_path / "board").mkdir()
    board = Board(tmp_path / "board", 0, cloud_endpoint="serial://%s?baud=115200" % names[1])
    bridge = serve(mosquitto.port, tmp_path / "cloud.db")
    try:
        gateway.start()
        last = board.run("--lines", "logs", "--until-drained", lines=text(lines(2000)), timeout_s=60)
        assert last["streams"][0]["delivered"] == 2000 and last["packets_refused"] == 0
        assert stored(tmp_path / "cloud.db") == lines(2000)
    finally:
        bridge.kill()
        bridge.wait()
        gateway.kill()
        for descriptor in (*ends[0], *ends[1]):
            os.close(descriptor)


def test_a_host_does_not_take_a_line_for_its_way_to_the_cloud(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path, "node_id: n1\ncloud_endpoint: serial://1\n")
    with pytest.raises(AssertionError, match="only a board reaches the cloud over a serial line"):
        agent.start()


def test_a_device_that_is_absent_is_told_and_tried_again(mosquitto: Mosquitto, tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path, (GATEWAY % (mosquitto.port, 1, "")).replace("socket://127.0.0.1:1", "/dev/no-such-line"))
    agent.start()
    try:
        time.sleep(4)
        shown = agent.cli("status").stdout.decode()
        assert "/dev/no-such-line" in shown and "closed" in shown and "No such file or directory" in shown
        assert agent.log.read_text().count("/dev/no-such-line: No such file") == 1  # however often it is tried
        assert json.loads(agent.cli("status", "--json").stdout)["state"] in ("connecting", "hello")  # the agent itself is well
    finally:
        agent.kill()


def test_what_is_wrong_with_a_line_is_named(make: Callable[..., World]) -> None:
    world = make()

    def said(**config: Any) -> str:
        given = json.loads(world.board.config.read_text())
        other = world.board.folder / "other.json"
        other.write_text(json.dumps(given | config))
        command = [*world.board.command()[:-1], str(other)]
        environment = os.environ | {"MICROPYPATH": world.board.path}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 2, done
        return done.stderr

    assert "serial://UART" in said(cloud_endpoint="serial://1?speed=9600")
    assert "serial://UART" in said(cloud_endpoint="serial+tcp://host")
    assert "4608 bytes take too long at 9600 baud; use at most 2376" in said(cloud_endpoint="serial://1?baud=9600")
    odd = said(cloud_endpoint="serial:///dev/ttyS9?baud=12345")
    assert "does not have 12345 baud" in odd and "9600, " in odd and "115200" in odd, odd
    assert "a board carries no other node" in said(serial=[{"port": "/dev/ttyS9"}])
    assert "serial+tcp://LINE (on a board)" in said(cloud_endpoint="http://x")
