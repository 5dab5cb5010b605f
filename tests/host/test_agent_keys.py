"""The Python API of keyed topics: keys are set, read, deleted and watched, conflicts are explained, and mistakes store nothing."""

import asyncio
from pathlib import Path

import pytest

from local_agent import KEYED, config, from_elsewhere, run, values
from streamline_core.errors import UsageError
from streamline_core.table import WATCHED_MAX
from streamline_edge.agent import Agent


def test_keys_are_set_read_and_deleted(tmp_path: Path) -> None:
    async def first(agent: Agent) -> None:
        for name in ("mine", "state"):
            assert agent.get(name, "a") is None and agent.versions(name, "a") == []
            await agent.produce(name, b"1", key="a")
            assert agent.get(name, "a") == b"1"
            await agent.produce(name, "2", key=b"a")
            await agent.produce(name, b"", key="empty", headers=[("h", b"x")])
            await agent.produce(name, b"x", key=b"\xff\x00", ack="buffered")
            agent.produce_nowait(name, b"b", key="a/b")
            await agent.produce(name, b"gone", key="gone")
            await agent.delete(name, "gone")
            assert agent.get(name, b"a") == b"2" and agent.get(name, "empty") == b"" and agent.get(name, "gone") is None
            assert agent.keys(name) == [b"a", b"a/b", b"empty", b"\xff\x00"] and agent.keys(name, "a") == [b"a", b"a/b"]
            assert [version.value for version in agent.versions(name, "gone")] == [None]
            await agent.delete(name, b"\xff\x00", ack="buffered")
        assert agent.conflicts() == agent.conflicts("mine") == []

    async def second(agent: Agent) -> None:
        for name in ("mine", "state"):
            assert agent.keys(name) == [b"a", b"a/b", b"empty"] and agent.get(name, "a") == b"2"
        found = agent.explain("mine", "gone")
        assert found["shown"] is None and found["versions"][0]["deleted"] and found["conflict"] is None
        assert [row["topic"] for row in agent.status()["tables"]] == ["mine", "state"]

    run(tmp_path, first, **KEYED)
    run(tmp_path, second, **KEYED)


def test_a_write_of_a_keyed_topic_waits_for_its_ack(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        await agent.produce("state", b"1", key="k", ack="buffered")
        assert agent.node.log("state").durable == 0
        assert await agent.produce("state", b"2", key="k", ack="durable") == 1 and agent.node.log("state").durable == 2
        waiting = [
            asyncio.create_task(agent.produce("state", b"3", key="k", ack="cloud")),
            asyncio.create_task(agent.delete("state", "k", ack="cloud")),
        ]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in waiting) and agent.get("state", "k") is None
        agent.node.log("state").state.acked = 4
        agent.sync_now()
        assert await asyncio.gather(*waiting) == [2, 3]

    run(tmp_path, test, **KEYED, cloud_endpoint="mqtt://127.0.0.1:1")


def test_mistakes_with_keys_store_nothing(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        for call, said in (
            (agent.produce("state", b"x"), "needs a key"),
            (agent.produce("state", b"x", key=""), "needs a key"),
            (agent.produce("state", b"x", key=b"k" * 1025), "1025 bytes"),
            (agent.produce("state", None, key="k"), "goes with delete"),  # type: ignore[arg-type]
            (agent.produce("state", b"x", key=7), "a key must be bytes or text"),  # type: ignore[arg-type]
            (agent.produce("state", b"x", key="k", ack="cloud"), "never goes to a cloud"),
            (agent.produce("state", b"x" * 70_000, key="k"), "too large"),
            (agent.produce_many("state", [b"x"]), "is keyed"),
            (agent.produce("promo", b"x"), "flows from the cloud"),
            (agent.delete("state", ""), "needs a key"),
            (agent.delete("state", "k", ack="sure"), "is not allowed"),
            (agent.delete("t", "k"), "'t' is not keyed here; keyed are: mine, state"),
            (agent.delete("nope", "k"), "not keyed"),
            (anext(agent.watch("t")), "not keyed"),
            (values(agent, "t", feed=True), "no feed"),
            (values(agent, "state", feed=True), "no feed"),
        ):
            with pytest.raises(UsageError, match=said):
                await call
        for ask in (agent.get, agent.versions, agent.explain):
            with pytest.raises(UsageError, match="not keyed"):
                ask("t", b"k")
            with pytest.raises(UsageError, match="needs a key"):
                ask("state", b"")
        for list_ in (agent.keys, agent.conflicts):
            with pytest.raises(UsageError, match="not keyed"):
                list_("t")
        assert agent.node.log("state").next == agent.node.log("promo").next == 0
        assert await values(agent, "promo") == await values(agent, "promo", from_time=5) == []
        assert await values(agent, "chat", feed=True) == await values(agent, "chat", feed=True, from_time=5) == []

    run(tmp_path, test, **KEYED)


def test_a_conflict_is_explained_by_who_wrote_what_and_when(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        await agent.produce("state", b"ours", key="k")
        await agent.produce("state", b"alone", key="other")
        await from_elsewhere(agent, b"k", b"\xff", side="cloud", node="cloud", wall_ms=1_900_000_000_123)
        await from_elsewhere(agent, b"k", None, trusted=False)
        assert agent.conflicts() == agent.conflicts("state") == [("state", b"k")] and agent.conflicts("mine") == []
        found = agent.explain("state", "k")
        unset, ours, cloud = found["versions"]  # a clock that was not set comes before all others
        assert (found["topic"], found["partition"], found["key"], found["strategy"]) == ("state", 0, "k", "last_write_wins")
        assert found["shown"] == {"base64": "/w=="} and agent.get("state", "k") == b"\xff"
        assert (unset["node"], unset["time"], unset["trusted"], unset["deleted"], unset["value"]) == ("n2", None, False, True, None)
        assert cloud == {
            "version": "cloud/00000007@3",
            "value": {"base64": "/w=="},
            "deleted": False,
            "node": "cloud",
            "epoch": "00000007",
            "offset": 3,
            "side": "cloud",
            "time": "2030-03-17T17:46:40.123Z",
            "hlc": "%016x" % (1_900_000_000_123 << 16),
            "trusted": True,
            "demoted": False,
            "seen": [],
        }
        assert ours["value"] == "ours" and ours["epoch"] == "%08x" % agent.node.log("state").stream.epoch
        conflict = found["conflict"]
        assert (conflict["type"], conflict["resolution"], conflict["merge_failure"]) == ("delete/update", "use cloud", None)
        assert conflict["winners"] == [cloud["version"]] and "last_write_wins" in conflict["rule"]
        await agent.produce("state", b"settled", key="k")
        (left,) = agent.explain("state", "k")["versions"]
        assert [row["node"] for row in left["seen"]] == ["cloud", "n1", "n2"] and agent.conflicts() == []
        assert agent.explain("state", "never")["versions"] == []
        await from_elsewhere(agent, b"far", b"x", wall_ms=(1 << 48) - 1)
        assert agent.explain("state", "far")["versions"][0]["time"] is None  # no calendar has it

    run(tmp_path, test, **KEYED)


def test_a_watch_tells_of_keys_from_here_and_from_elsewhere(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        found: asyncio.Queue[bytes] = asyncio.Queue()

        async def watch() -> None:
            async for key in agent.watch("state"):
                found.put_nowait(key)

        await agent.produce("state", b"before", key="before")
        task = asyncio.create_task(watch())
        await asyncio.sleep(0.05)
        await agent.produce("state", b"1", key="a")
        assert await found.get() == b"a"
        await from_elsewhere(agent, b"b", b"2")
        assert await found.get() == b"b"
        await agent.delete("state", "a")
        assert await found.get() == b"a" and agent.get("state", "a") is None and found.empty()
        for i in range(WATCHED_MAX + 100):
            agent.produce_nowait("state", b"x", key="k%d" % i)
        seen = set()
        while len(seen) < WATCHED_MAX + 100:
            seen.add(await found.get())
            seen -= {b"a", b"b", b"before"}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert agent.node.tables.topics["state"][0].table.watches == []

    run(tmp_path, test, **KEYED)


def test_a_watch_ends_with_the_agent(tmp_path: Path) -> None:
    async def main() -> None:
        agent = Agent(config(tmp_path, **KEYED))
        await agent.start()

        async def watch() -> list[bytes]:
            return [key async for key in agent.watch("mine")]

        task = asyncio.create_task(watch())
        await asyncio.sleep(0.05)
        await agent.stop()
        assert await asyncio.wait_for(task, 10) == []

    asyncio.run(main())
