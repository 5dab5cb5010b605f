"""`make demo-conflict`: two edges and the cloud write the same keys while nothing connects them, in each strategy; then the link is back.

Rule: real agents, the real bridge and its store, a real broker; while cut off, the agents run without a cloud. Nothing is decided here. It
prints what each shows before and after, and why. Exits with 1 if two replicas do not show the same, or not what the strategy promises.

Usage: make demo-conflict
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamline_cloud.bridge import Bridge
from streamline_core.config import EdgeConfig
from streamline_core.topic import CUSTOM_MERGE, STRATEGIES
from streamline_edge.agent import Agent
from streamline_host.embedded_broker import EmbeddedBroker
from streamline_host.merge_module import load_merge

ROOT = Path(__file__).resolve().parent.parent
MERGE = "python:%s" % (ROOT / "docs/examples/merge/union_of_lines.py")
WAIT_SECS = 60.0
APART_SECS = 0.05  # between writes, so that their order is clear
EDGES = ("edge-1", "edge-2")
PRICE, SHELF = b"price", b"shelf"
WROTE = {"edge-1": b"edge-1\n", "cloud": b"cloud\n", "edge-2": b"edge-2\n"}  # to the price, in this order
SHOWN = {  # of the price and of the shelf, which edge-1 updates while the cloud deletes it
    "last_write_wins": (b"edge-2\n", None),
    "first_write_wins": (b"edge-1\n", b"edge-1\n"),
    "cloud_wins": (b"cloud\n", None),
    "edge_wins": (b"edge-2\n", b"edge-1\n"),
    "keep_both": (b"edge-2\n", b"edge-1\n"),
    "custom_merge": (b"edge-1\ncloud\nedge-2\n", b"edge-1\n"),
}


def topic_of(strategy: str) -> str:
    return "prices." + strategy.replace("_", "-")


class Demo:
    def __init__(self, folder: Path) -> None:
        self.broker = EmbeddedBroker()
        self.merge = load_merge(MERGE, str(ROOT))
        self.folder = folder
        self.edges: dict[str, Agent] = {}
        self.bridge: Bridge | None = None

    async def start(self) -> None:
        url = await self.broker.start()
        merges = {topic_of(CUSTOM_MERGE): self.merge}
        self.bridge = Bridge(url, self.folder / "cloud.db", merges=merges, say=lambda text: None)
        await self.bridge.start()
        for strategy in STRATEGIES:
            merge_hash = self.merge[1] if strategy == CUSTOM_MERGE else b""
            await self.bridge.define(topic_of(strategy), "keyed", "bidirectional", 1, strategy, merge_hash)
        await self._start_edges(url)

    async def _start_edges(self, url: str | None) -> None:
        """Start both edges (again), with a way to the cloud or without."""
        for name in EDGES:
            if name in self.edges:
                await self.edges.pop(name).stop()
            topics = [self._topic(strategy) for strategy in STRATEGIES]
            given = {"node_id": name, "data_dir": str(self.folder / name), "cloud_endpoint": url, "sync_topics": topics}
            agent = Agent(EdgeConfig.from_dict(given))
            await agent.start()
            self.edges[name] = agent

    def _topic(self, strategy: str) -> dict[str, Any]:
        topic = {"topic": topic_of(strategy), "kind": "keyed", "direction": "bidirectional", "strategy": strategy}
        return topic | {"merge": MERGE} if strategy == CUSTOM_MERGE else topic

    async def stop(self) -> None:
        for agent in self.edges.values():
            await agent.stop()
        if self.bridge is not None:
            await self.bridge.stop()
        await self.broker.stop()

    # What happens

    async def agree(self) -> None:
        """The cloud writes both keys of each topic, and all have them."""
        assert self.bridge is not None
        for strategy in STRATEGIES:
            await self.bridge.produce(topic_of(strategy), b"cloud, before\n", PRICE)
            await self.bridge.produce(topic_of(strategy), b"cloud, before\n", SHELF)
        await until(lambda: all(value == b"cloud, before\n" for row in self.shown(SHELF).values() for value in row.values()))

    async def write_apart(self) -> None:
        """Everybody writes, and nobody hears of it."""
        assert self.bridge is not None
        await self._start_edges(None)
        for name in ("edge-1", "cloud", "edge-2"):
            for strategy in STRATEGIES:
                topic = topic_of(strategy)
                if name == "cloud":
                    await self.bridge.produce(topic, WROTE[name], PRICE)
                    await self.bridge.delete(topic, SHELF)
                else:
                    await self.edges[name].produce(topic, WROTE[name], PRICE)
                    if name == "edge-1":
                        await self.edges[name].produce(topic, WROTE[name], SHELF)
            await asyncio.sleep(APART_SECS)

    async def meet(self) -> None:
        """There is a link again: until everybody holds every version."""
        await self._start_edges(str(self.broker.own_url))
        await until(lambda: all(self._versions(strategy) == 3 * [(3, 2)] for strategy in STRATEGIES))

    def _versions(self, strategy: str) -> list[tuple[int, int]]:
        assert self.bridge is not None
        topic = topic_of(strategy)
        found = [tuple(len(agent.versions(topic, key)) for key in (PRICE, SHELF)) for agent in self.edges.values()]
        found.append(tuple(len(self.bridge.resolve(topic, key).versions) for key in (PRICE, SHELF)))
        return found  # type: ignore[return-value]

    # What is shown

    def shown(self, key: bytes) -> dict[str, dict[str, bytes | None]]:
        """{strategy: {who: the value}}."""
        assert self.bridge is not None
        found = {}
        for strategy in STRATEGIES:
            topic = topic_of(strategy)
            row = {name: agent.get(topic, key) for name, agent in self.edges.items()}
            found[strategy] = row | {"cloud": self.bridge.get(topic, key)}
        return found

    def explain(self, strategy: str, key: bytes) -> None:
        told = self.edges["edge-2"].explain(topic_of(strategy), key)
        conflict = told["conflict"]
        print("%s %s on edge-2: %s, resolution: %s" % (told["topic"], told["key"], conflict["type"], conflict["resolution"]))
        print("  rule: %s" % conflict["rule"])
        for version in told["versions"]:
            mark = "*" if version["version"] in conflict["winners"] else " "
            seen = ", ".join("%s up to offset %d" % (row["node"], row["next"] - 1) for row in version["seen"]) or "nothing"
            value = "deleted" if version["deleted"] else repr(version["value"])
            where = version["node"], version["side"], version["time"] or "by a clock that was not set"
            print("  %s %-18s written by %s (%s) at %s; it had seen %s" % (mark, value, *where, seen))


async def until(done: Callable[[], bool]) -> None:
    """Raises RuntimeError where it takes too long."""
    end = time.monotonic() + WAIT_SECS
    while not done():
        if time.monotonic() > end:
            raise RuntimeError("waited %d s in vain" % WAIT_SECS)
        await asyncio.sleep(0.02)


def print_shown(title: str, demo: Demo) -> None:
    print("\n%s" % title)
    print("  %-17s %-6s  %-24s  %-24s  %-24s" % ("strategy", "key", "edge-1 shows", "edge-2 shows", "the cloud shows"))
    for key in (PRICE, SHELF):
        for strategy, row in demo.shown(key).items():
            cells = [_cell(row[who]) for who in ("edge-1", "edge-2", "cloud")]
            print("  %-17s %-6s  %-24s  %-24s  %-24s" % (strategy, key.decode(), *cells))


def _cell(value: bytes | None) -> str:
    return "(deleted)" if value is None else value.decode().strip().replace("\n", " + ")


def problems(demo: Demo) -> list[str]:
    """What the replicas show that they must not."""
    found = []
    for i, key in enumerate((PRICE, SHELF)):
        for strategy, row in demo.shown(key).items():
            for who, value in row.items():
                if value != SHOWN[strategy][i]:
                    found.append("%s: %s shows %r of %s, not %r" % (strategy, who, value, key.decode(), SHOWN[strategy][i]))
    return found


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Errors of our own callbacks are told; the broker's library leaves those of its tasks about when its clients come and go."""
    if "handle" in context:
        loop.default_exception_handler(context)


async def run(folder: Path) -> int:
    asyncio.get_running_loop().set_exception_handler(_complain)
    demo = Demo(folder)
    try:
        await demo.start()
        await demo.agree()
        await demo.write_apart()
        print_shown("Cut off. Each has written the price; edge-1 has written the shelf, and the cloud has deleted it:", demo)
        await demo.meet()
        print_shown("Connected again. All hold the same versions, and show:", demo)
        print("\nWhy (* went into what is shown):\n")
        for strategy, key in ((STRATEGIES[0], PRICE), ("edge_wins", SHELF), ("custom_merge", PRICE)):
            demo.explain(strategy, key)
        found = problems(demo)
    finally:
        await demo.stop()
    for problem in found:
        print("demo-conflict: %s" % problem, file=sys.stderr)
    print("\ndemo-conflict: %s" % ("%d problems" % len(found) if found else "every replica shows what its strategy promises"))
    return 1 if found else 0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="streamline-demo-") as folder:
        return asyncio.run(run(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
