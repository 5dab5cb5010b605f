"""The parts of the benchmark that hold an agent to its limits: an outage that overflows its storage, its share of the processor, its
bandwidth, its command line, and a start with a large backlog.

Rule: the agent is a process of its own, looked at from outside: its memory as the system sees it, its folder file by file, its bytes as
the broker's socket takes them. A run in which a ledger does not add up is an error, not a number. Must not know: how results are shown.
"""

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from bench_world import START_SECS, World, end
from streamline_edge.control_client import ControlClient, NoAgent

TOPIC = "telemetry"
VALUE_BYTES = 1000
REQUEST_RECORDS = 2000
LOOK_SECS = 0.02
DRAIN_SECS = 300
WINDOW_SECS = 10.0
MB = 1 << 20


class Outage(NamedTuple):
    """highest_stored, highest_memory: bytes, of all looks; produced_s: bytes/s; delivered, lost: records."""

    highest_stored: int
    highest_memory: int
    produced_s: float
    refused: int
    delivered: int
    lost: int


class LimitedAgent:
    """`python -m streamline_edge` with a configuration (sections of edge.yaml as a dict) in the world's folder."""

    def __init__(self, world: World, name: str, connected: bool = True, **sections: Any) -> None:
        self.world = world
        self.data_dir = world.folder / name
        self.config = world.folder / (name + ".yaml")
        given = {"node_id": name, "data_dir": str(self.data_dir), "sync_topics": [TOPIC], **sections}
        given["cloud_endpoint"] = world.url if connected else "mqtt://127.0.0.1:1"
        self.given = given
        self.write()

    def write(self) -> None:
        self.config.write_text(json.dumps(self.given))

    def start(self) -> float:
        """Returns how many seconds it took until it answered. Raises RuntimeError."""
        began = time.monotonic()
        log = self.world.folder / (self.data_dir.name + ".log")
        self.process = self.world.start([sys.executable, "-m", "streamline_edge", "--config", str(self.config)], log)
        while time.monotonic() < began + START_SECS:
            try:
                self.client = ControlClient(str(self.data_dir))
                self.client.request("status")
                self.seen = psutil.Process(self.process.pid)
                return time.monotonic() - began
            except NoAgent:
                if self.process.poll() is not None:
                    break
                time.sleep(0.005)
        raise RuntimeError("the agent did not start: " + log.read_text()[-2000:])

    def stop(self) -> None:
        self.client.close()
        end(self.process)

    def memory(self) -> int:
        return int(self.seen.memory_info().rss)

    def stored(self) -> int:
        """Bytes of its files, segments that were removed meanwhile left out."""
        total = 0
        for path in self.data_dir.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:
                pass
        return total

    def produce(self, total_bytes: int) -> int:
        """Sends requests of records until so many bytes were taken or refused; returns how many records were refused."""
        body = random.Random(1).randbytes(VALUE_BYTES * REQUEST_RECORDS)  # nothing that compresses
        sizes, refused = [VALUE_BYTES] * REQUEST_RECORDS, 0
        under_way: list[int] = []
        for _ in range(total_bytes // len(body)):
            under_way.append(self.client.send({"op": "produce", "topic": TOPIC, "sizes": sizes}, body))
            while len(under_way) > 8:
                refused += self._answered(under_way)
        while under_way:
            refused += self._answered(under_way)
        return refused

    def _answered(self, under_way: list[int]) -> int:
        header, _ = self.client.receive()
        under_way.remove(header["id"])
        if "error" not in header:
            return 0
        if header.get("kind") not in ("storage_full", "queue_full"):
            raise RuntimeError(str(header["error"]))
        return REQUEST_RECORDS

    def ledger(self) -> dict[str, Any]:
        (row,) = self.client.request("ledger")["ledger"]
        return dict(row)


class Watch:
    """Looks at an agent all the time, from a thread of its own; may be entered again."""

    def __init__(self, agent: LimitedAgent) -> None:
        self.highest_stored = self.highest_memory = 0
        self._agent = agent

    def __enter__(self) -> "Watch":
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECS):
            self.highest_stored = max(self.highest_stored, self._agent.stored())
            self.highest_memory = max(self.highest_memory, self._agent.memory())


def outage(world: World, total_bytes: int, storage: int, memory: int, policy: str) -> Outage:
    """An agent that is offline takes `total_bytes` under these limits; then the link comes, and its ledger has to add up."""
    name = "outage-" + policy
    resources = {"max_storage": storage, "max_memory": memory, "eviction_policy": policy}
    agent = LimitedAgent(world, name, False, resources=resources)
    agent.start()
    watch = Watch(agent)
    with watch:
        began = time.monotonic()
        refused = agent.produce(total_bytes)
        took = time.monotonic() - began
    row = agent.ledger()
    if row["produced"] + refused != total_bytes // (VALUE_BYTES * REQUEST_RECORDS) * REQUEST_RECORDS:
        raise RuntimeError("of what was produced, %d records are there and %d were refused" % (row["produced"], refused))
    agent.stop()
    agent.given["cloud_endpoint"] = world.url
    agent.write()
    agent.start()
    deadline = time.monotonic() + DRAIN_SECS
    with watch:
        while (row := agent.ledger())["pending"] or any(row["unconfirmed"].values()):
            if time.monotonic() > deadline:
                raise RuntimeError("not delivered within %d s: %r" % (DRAIN_SECS, row))
            time.sleep(0.1)
    lost = sum(row["lost"].values())
    if row["delivered"] + lost != row["produced"] or (policy == "reject" and lost):
        raise RuntimeError("the ledger does not add up: %r" % row)
    agent.stop()
    return Outage(watch.highest_stored, watch.highest_memory, total_bytes / took, refused, row["delivered"], lost)


def backlog(world: World, name: str, total_bytes: int, **sections: Any) -> LimitedAgent:
    """An agent that has gathered so much while it was offline, and has stopped."""
    agent = LimitedAgent(world, name, False, **sections)
    agent.start()
    if agent.produce(total_bytes):
        raise RuntimeError("some of the backlog was refused")
    agent.stop()
    agent.given["cloud_endpoint"] = world.url
    agent.write()
    return agent


def processor(world: World, percent: int, total_bytes: int, secs: float) -> float:
    """The highest share of the processor, in percent of one core, of any WINDOW_SECS while a backlog drains."""
    agent = backlog(world, "processor", total_bytes, frame_bytes_max=8192)  # small frames: much work for few bytes
    agent.given["resources"] = {"max_cpu_percent": percent}
    agent.write()
    agent.start()
    _until_draining(agent)
    rows = []
    began = time.monotonic()
    while time.monotonic() < began + secs and agent.ledger()["pending"]:
        times = agent.seen.cpu_times()
        rows.append((time.monotonic(), times.user + times.system))
        time.sleep(0.25)
    if not agent.ledger()["pending"]:
        raise RuntimeError("the backlog of %d bytes was drained before %d s" % (total_bytes, secs))
    agent.stop()
    return max(_shares(rows)) * 100


def bandwidth(world: World, limit: int, total_bytes: int, secs: float) -> tuple[float, float]:
    """The lowest and the highest rate of any WINDOW_SECS, as a share of the limit, while a backlog drains."""
    agent = backlog(world, "bandwidth", total_bytes)
    agent.given["sync"] = {"bandwidth_limit": limit}
    agent.write()
    agent.start()
    _until_draining(agent)
    rows = []
    began = time.monotonic()
    while time.monotonic() < began + secs:
        counters = agent.client.request("status")["status"]["counters"]
        rows.append((time.monotonic(), counters["bytes_out"]))
        time.sleep(0.25)
    if not agent.ledger()["pending"]:
        raise RuntimeError("the backlog of %d bytes was drained before %d s" % (total_bytes, secs))
    agent.stop()
    shares = [share / limit for share in _shares(rows)]
    return min(shares), max(shares)


def _until_draining(agent: LimitedAgent) -> None:
    deadline = time.monotonic() + START_SECS
    while not agent.ledger()["delivered"]:
        if time.monotonic() > deadline:
            raise RuntimeError("the backlog does not drain")
        time.sleep(0.02)


def _shares(rows: list[tuple[float, float]]) -> list[float]:
    """Growth a second over each WINDOW_SECS of (time, count)."""
    shares = []
    for i, (at, count) in enumerate(rows):
        later = next(((t, c) for t, c in rows[i:] if t - at >= WINDOW_SECS), None)
        if later is not None:
            shares.append((later[1] - count) / (later[0] - at))
    if not shares:
        raise RuntimeError("nothing was measured for %d s" % WINDOW_SECS)
    return shares


def command_line(world: World) -> tuple[float, str]:
    """The slowest of the commands that ask an agent (the best of three runs each), in ms, and which it was."""
    agent = LimitedAgent(world, "commands", False)
    agent.start()
    agent.produce(10 * MB)
    commands = ("status", "ledger", "topics", "health", "queue", "resources", "consumers", "sync status", "sync plan --budget 5MB",
                "mesh status", "config show", "--help", f"consume {TOPIC} --from 9999")  # fmt: skip
    slowest = (0.0, "")
    for command in commands:
        best = min(_timed(agent, command) for _ in range(3))
        slowest = max(slowest, (best * 1000, command))
    agent.stop()
    return slowest


def _timed(agent: LimitedAgent, command: str) -> float:
    words = [str(Path(sys.executable).parent / "streamline-cli"), "edge", "--config", str(agent.config), *command.split()]
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, check=False)
    took = time.monotonic() - began
    if done.returncode:
        raise RuntimeError("%s: %s" % (command, done.stderr.decode()))
    return took


def restart(world: World, total_bytes: int) -> tuple[float, int]:
    """(seconds until it answers, its memory then in bytes) of an agent with such a backlog."""
    agent = backlog(world, "restart", total_bytes)
    agent.given["cloud_endpoint"] = "mqtt://127.0.0.1:1"
    agent.write()
    secs = agent.start()
    memory = agent.memory()
    agent.stop()
    return secs, memory
