"""The parts of the benchmark that drive an agent on CPython, end to end.

Rule: the clock starts before the first record is produced and stops when the cloud's own ledger, read from its store,
shows every record delivered: durable at both ends. A run in which anything was lost or refused is an error, not a
number. Must not know: how results are shown.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import psutil

from bench_world import World
from streamline_cloud.store_reader import StoreReader
from streamline_core.config import EdgeConfig
from streamline_edge.agent import Agent, QueueFull
from streamline_host.codecs import codecs

SLICE = 20_000  # values that one produce_many is given
NOWAIT_SLICE = 256
PRODUCERS = 1000
TOPIC = "telemetry"
POLL_SECS = 0.005
OPEN_SECS = 20
DRAIN_SECS = 120
IDLE_SECS = 2.0


class Run(NamedTuple):
    """records_s: end to end. local_s: until durable at the edge. link_bytes: of all frames, in both directions."""

    records: int
    records_s: float
    local_s: float
    link_bytes: int


def config(world: World, node: str) -> EdgeConfig:
    return EdgeConfig.from_dict(
        {"node_id": node, "cloud_endpoint": world.url, "data_dir": str(world.folder / node), "sync_topics": [TOPIC]}
    )


async def through_many(agent: Agent, records: list[bytes], count: int) -> None:
    sent = 0
    while sent < count:
        at = sent % len(records)
        part = records[at : at + min(SLICE, count - sent)]
        sent += await agent.produce_many(TOPIC, part)


async def through_nowait(agent: Agent, records: list[bytes], count: int) -> None:
    sent, all_of_them, produce = 0, len(records), agent.produce_nowait
    while sent < count:
        try:
            for _ in range(min(NOWAIT_SLICE, count - sent)):
                produce(TOPIC, records[sent % all_of_them])
                sent += 1
        except QueueFull as full:
            await agent.room(full)
        await asyncio.sleep(0)
    while agent.producer.buffered_bytes():
        await agent.room()


async def through_producers(agent: Agent, records: list[bytes], count: int) -> None:
    """1,000 tasks, each of which waits for its record to be durable before it produces the next."""

    async def work(number: int) -> None:
        for at in range(number, count, PRODUCERS):
            await agent.produce(TOPIC, records[at % len(records)])

    await asyncio.gather(*(work(number) for number in range(PRODUCERS)))


Path = Callable[[Agent, list[bytes], int], Awaitable[None]]


async def end_to_end(world: World, node: str, path: Path, records: list[bytes], count: int) -> Run:
    """Produce `count` of `records` (again from the first when they end) by `path`; see the module's rule.

    Raises RuntimeError if it does not arrive whole.
    """
    async with Agent(config(world, node)) as agent:
        await until(lambda: agent.status()["state"] == "open", OPEN_SECS, "the session did not open")
        assert agent.uplink is not None
        link = agent.uplink.link
        bytes_before = link.bytes_out + link.bytes_in
        start = time.perf_counter()
        await path(agent, records, count)
        local = time.perf_counter() - start
        await until(lambda: acked(agent) >= count, DRAIN_SECS, "the cloud did not confirm everything")
        with StoreReader(world.store, codecs("zstd")) as reader:
            await until(lambda: reader.ledger(node)[0].delivered >= count, DRAIN_SECS, "the cloud's ledger does not show it")
            took = time.perf_counter() - start
            row = reader.ledger(node)[0]
        if not row.adds_up or (row.produced, row.delivered, row.lost) != (count, count, {}):
            raise RuntimeError("the ledger is not what was produced: %r" % (row,))
        return Run(count, count / took, count / local, link.bytes_out + link.bytes_in - bytes_before)


def acked(agent: Agent) -> int:
    acked: int = agent.node.log(TOPIC).acked
    return acked


async def until(condition: Callable[[], bool], secs: float, otherwise: str) -> None:
    deadline = time.monotonic() + secs
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("%s within %d s" % (otherwise, secs))
        await asyncio.sleep(POLL_SECS)


def idle_memory(world: World) -> float:
    """Resident megabytes of an agent process that is connected and has nothing to do."""
    path = world.folder / "idle.yaml"
    path.write_text("node_id: idle\ncloud_endpoint: %s\ndata_dir: idle\nsync_topics: [%s]\n" % (world.url, TOPIC))
    log = world.folder / "idle.log"
    process = world.start([sys.executable, "-m", "streamline_edge", "--config", str(path)], log)
    deadline = time.monotonic() + OPEN_SECS
    while b"connected to" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the idle agent did not connect:\n" + log.read_text())
        time.sleep(0.05)
    time.sleep(IDLE_SECS)
    resident: int = psutil.Process(process.pid).memory_info().rss
    return resident / 1e6
