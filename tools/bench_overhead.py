"""The part of the benchmark that says how many bytes a record takes beyond its value, and on the link, by how records come.

Rule: an agent gathers records while sync is paused, then everything is sent: a backlog, as after an outage. What is counted is what its own
log says that it stores, and what its link says that it sent. Must not know: how results are shown.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bench_edge import DRAIN_SECS, OPEN_SECS, TOPIC, acked, config, until
from bench_world import World
from streamline_edge.agent import Agent

TOGETHER = 100  # records of one commit, where they come by the hundred


class Overhead(NamedTuple):
    """stored_bytes: of a record beyond its value, its key included. link_bytes: of a record, on the link."""

    stored_bytes: float
    link_bytes: float


async def many(agent: Agent, records: list[bytes]) -> None:
    await agent.produce_many(TOPIC, records)


async def by_the_hundred(agent: Agent, records: list[bytes]) -> None:
    for at in range(0, len(records), TOGETHER):
        part = records[at : at + TOGETHER]
        await asyncio.gather(*[agent.produce(TOPIC, value, key=b"sensor-%04d" % i) for i, value in enumerate(part)])


async def alone(agent: Agent, records: list[bytes]) -> None:
    for value in records:
        await agent.produce(TOPIC, value)


async def alone_with_a_key(agent: Agent, records: list[bytes]) -> None:
    for i, value in enumerate(records):
        await agent.produce(TOPIC, value, key=b"key-%03d" % (i % 1000))


WAYS: dict[str, Callable[[Agent, list[bytes]], Awaitable[None]]] = {
    "many at once": many,
    "100 a commit, keys of 11 bytes": by_the_hundred,
    "each alone": alone,
    "each alone, keys of 7 bytes": alone_with_a_key,
}


async def measure(world: World, way: str, records: list[bytes]) -> Overhead:
    """Raises RuntimeError where it does not arrive."""
    async with Agent(config(world, "overhead-%d" % list(WAYS).index(way))) as agent:
        await until(lambda: agent.status()["state"] == "open", OPEN_SECS, "the session did not open")
        assert agent.uplink is not None
        agent.pause()
        await WAYS[way](agent, records)
        stored, before = agent.node.log(TOPIC).segments.total_bytes, agent.uplink.link.bytes_out
        agent.resume()
        await until(lambda: acked(agent) >= len(records), DRAIN_SECS, "the cloud did not confirm everything")
        sent = agent.uplink.link.bytes_out - before
    return Overhead((stored - sum(map(len, records))) / len(records), sent / len(records))
