"""An agent in the test's own process, its configuration, what it has stored, and a version of a key as another node would have written it.

Rule: the agent is the real one, on a real folder. Must not know: what a test promises.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from streamline_core.config import EdgeConfig
from streamline_core.consumer import Gap
from streamline_core.extension import pack_carried
from streamline_core.record import Record
from streamline_core.version import Version
from streamline_edge.agent import Agent


def config(folder: Path, **more: Any) -> EdgeConfig:
    topics = ["t", {"topic": "p", "partitions": 4}]
    return EdgeConfig.from_dict({"node_id": "n1", "data_dir": str(folder / "d"), "sync_topics": topics, **more})


def run(folder: Path, test: Callable[[Agent], Awaitable[None]], **more: Any) -> None:
    async def main() -> None:
        async with Agent(config(folder, **more)) as agent:
            await asyncio.wait_for(test(agent), 30)

    asyncio.run(main())


async def values(agent: Agent, topic: str = "t", partition: int = 0, **more: Any) -> list[bytes]:
    found = []
    async for record in agent.consume(topic, partition, **more):
        assert not isinstance(record, Gap)
        found.append(record.value)
    return found


# Keyed topics, and what flows down.
KEYED: dict[str, Any] = {
    "sync_topics": [
        "t",
        {"topic": "state", "kind": "keyed", "direction": "bidirectional"},
        {"topic": "promo", "direction": "cloud_to_edge"},
        {"topic": "chat", "direction": "bidirectional"},
    ],
    "local_topics": [{"topic": "mine", "kind": "keyed", "partitions": 3}],
}


def topic(**more: Any) -> dict[str, Any]:
    return {"sync_topics": [{"topic": "state", "kind": "keyed", "direction": "bidirectional", **more}]}


async def from_elsewhere(
    agent: Agent, key: bytes, value: bytes | None, side: str = "edge", node: str = "n2", wall_ms: int = 1 << 47, trusted: bool = True
) -> None:
    """A version that another node wrote of a key of `state`, without having seen ours, as a feed stores it."""
    keyed = agent.node.tables.partition("state", key)
    version = Version(node, 7, 3, side, wall_ms << 16, trusted, {}, value)
    keyed.add(Record(0, 0, True, None, key, value or b"", (), value is None, pack_carried(version)))
    keyed.others.commit()
    for _ in range(500):
        if keyed.others.durable == keyed.others.next:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not durable")
