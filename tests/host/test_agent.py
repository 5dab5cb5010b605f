"""The Python API: what each ack promises, full buffers, failing disks, stop and start."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streamline_core.config import ConfigError, EdgeConfig
from streamline_core.consumer import Gap
from streamline_core.errors import QueueFull, StorageFull, StreamlineError, UsageError
from streamline_core.extension import pack_carried
from streamline_core.record import Record
from streamline_core.table import WATCHED_MAX
from streamline_core.version import Version
from streamline_edge import config_file
from streamline_edge.agent import Agent
from streamline_edge.waiters import RecordLost, Waiters


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


def test_produce_and_consume(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        assert await agent.produce("t", b"a") == 0
        stream = agent.node.log("t")
        assert stream.durable == 1
        when = datetime(2024, 5, 6, tzinfo=UTC)
        assert await agent.produce("t", "ä", key="k", headers=[("h", b"1")], timestamp=when) == 1
        assert await agent.produce("t", b"c", ack="buffered") == 2
        assert agent.produce_nowait("t", "d", key=b"k2", timestamp=5) == 3
        assert stream.durable == 2
        assert await agent.produce("t", b"e") == 4 and stream.durable == 5
        records = [record async for record in agent.consume("t")]
        assert [record.value for record in records] == [b"a", "ä".encode(), b"c", b"d", b"e"]
        assert records[1].key == b"k" and list(records[1].headers) == [("h", b"1")]
        assert records[1].timestamp_ms == int(when.timestamp() * 1000) and records[3].timestamp_ms == 5
        assert await values(agent, from_offset=3) == [b"d", b"e"]
        assert len(await values(agent, from_time=datetime(2001, 1, 1, tzinfo=UTC))) == 5

    run(tmp_path, test)


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async def first(agent: Agent) -> None:
        for i in range(100):
            agent.produce_nowait("t", b"%d" % i)

    async def second(agent: Agent) -> None:
        assert await values(agent) == [b"%d" % i for i in range(100)]
        assert await agent.produce("t", b"100") == 100

    run(tmp_path, first)
    run(tmp_path, second)


def test_mistakes_store_nothing(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        for call in (
            agent.produce("nope", b"x"),
            agent.produce("t", b"x" * 70000),
            agent.produce("t", b"x", ack="sure"),
            agent.produce_many("t", [b"x" * 70000]),
            agent.produce_many("t", [b"x"], ack="sure"),
            values(agent, "nope"),
            values(agent, "p", 4),
        ):
            with pytest.raises(UsageError):
                await call
        assert agent.node.log("t").next == 0
        assert await agent.produce("t", b"good") == 0

    run(tmp_path, test)


def test_a_thousand_at_once_and_some_cancelled(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        tasks = [asyncio.create_task(agent.produce("t", b"%d" % i)) for i in range(1000)]
        await asyncio.sleep(0)
        for task in tasks[::10]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(item, asyncio.CancelledError) for item in done) == 100
        assert [item for item in done if isinstance(item, int)] == [i for i in range(1000) if i % 10]
        assert await values(agent) == [b"%d" % i for i in range(1000)]

    run(tmp_path, test)


def test_produce_many_flows_through_a_small_buffer(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        everything = [b"%06d" % i * 10 for i in range(20_000)]
        assert await agent.produce_many("t", everything) == 20_000
        assert agent.node.log("t").durable == 20_000
        assert await values(agent) == everything
        assert await agent.produce_many("t", iter([])) == 0
        big = [b"x" * 30_000] * 50  # one slice is more than the whole buffer
        await agent.produce_many("p", big, partition=2)
        assert await values(agent, "p", 2) == big

    run(tmp_path, test, log={"buffer_bytes": "128KB"})


def test_nowait_says_when_the_buffer_is_full_and_produce_waits(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        accepted = 0
        with pytest.raises(QueueFull):
            for _ in range(1000):
                agent.produce_nowait("t", b"x" * 1000)
                accepted += 1
        assert 50 < accepted < 300
        await asyncio.gather(*[agent.produce("t", b"x" * 1000) for _ in range(1000)])
        assert agent.node.log("t").durable == accepted + 1000

    run(tmp_path, test, log={"buffer_bytes": "128KB"})


def test_the_clouds_backlog_is_an_error_not_a_wait(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        with pytest.raises(QueueFull, match="max_queue_size"):
            for _ in range(20):
                await agent.produce("t", b"x")
        assert agent.node.log("t").durable <= 10

    run(tmp_path, test, sync={"max_queue_size": 10})


def test_follow(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        async def read() -> list[bytes]:
            found = []
            async for record in agent.consume("t", follow=True):
                found.append(record.value)
                if len(found) == 5:
                    return found
            return found

        reader = asyncio.create_task(read())
        for i in range(5):
            await agent.produce("t", b"%d" % i)
            await asyncio.sleep(0.005)
        assert await reader == [b"%d" % i for i in range(5)]

    run(tmp_path, test)


def test_a_full_disk_fails_its_producers_and_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(agent: Agent) -> None:
        await agent.produce("t", b"before")
        real = os.writev

        def full(fd: int, parts: list[bytes]) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as broken:
            broken.setattr(os, "writev", full)
            with pytest.raises(StorageFull):
                await agent.produce("t", b"lost")
            with pytest.raises(StorageFull):
                await agent.produce("t", b"lost too")
            assert not agent.report_health()["healthy"]
        assert os.writev is real
        for _ in range(200):
            try:
                await agent.produce("t", b"after")
                break
            except StorageFull:
                await asyncio.sleep(0.05)
        assert await values(agent) == [b"before", b"after"]
        assert agent.report_health() == {"healthy": True, "problems": []}

    run(tmp_path, test)


def test_two_agents_in_one_folder(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        with pytest.raises(UsageError, match="in use by process"):
            await Agent(config(tmp_path)).start()
        assert await agent.produce("t", b"still here") == 0

    run(tmp_path, test)


def test_stop_answers_those_who_wait_for_the_cloud(tmp_path: Path) -> None:
    async def main() -> None:
        agent = Agent(config(tmp_path, cloud_endpoint="mqtt://127.0.0.1:1"))
        await agent.start()
        waiting = asyncio.create_task(agent.produce("t", b"x", ack="cloud"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await agent.stop()
        with pytest.raises(StreamlineError, match="stopped"):
            await waiting

    asyncio.run(main())


class FakeLog:
    """The marks that Waiters look at."""

    class stream:
        topic = "t"

    class Gaps:
        rows: list[tuple[int, int, str]] = []

    def __init__(self) -> None:
        self.term, self.durable, self.acked, self.written, self.folder = 1, 0, 0, 100, "t-0"
        self.failure: Exception | None = None
        self.successor: FakeLog | None = None
        self.sealed_at = -1
        self.state = type("State", (), {"gaps": FakeLog.Gaps()})()

    def moved(self, offset: int) -> "tuple[FakeLog, int] | None":
        return None if self.successor is None or offset < self.sealed_at else (self.successor, offset - self.sealed_at)


def test_waiters_lost_moved_and_reopened() -> None:
    async def main() -> None:
        waiters = Waiters(asyncio.get_running_loop())
        log: Any = FakeLog()
        one, two, three = [waiters.cloud(log, i, i + 1) for i in range(3)]
        log.state.gaps.rows = [(1, 2, "evicted")]
        waiters.acked(True)
        assert isinstance(two.exception(), RecordLost) and "evicted" in str(two.exception())
        log.acked, log.state.gaps.rows = 3, []
        waiters.acked(True)
        assert (one.result(), three.result()) == (0, 2)
        # A fork moves what lies beyond the seal.
        stays, goes = waiters.durable(log, 4, 5), waiters.durable(log, 6, 7)
        log.successor, log.sealed_at = FakeLog(), 5
        waiters.synced()
        log.durable, log.successor.durable = 5, 2
        waiters.synced()
        waiters.synced()
        assert (stays.result(), goes.result()) == (4, 1)
        # Reopened after a failure: what was not durable is not there.
        fresh: Any = FakeLog()
        gone = waiters.durable(fresh, 0, 1)
        fresh.term = 2
        waiters.synced()
        assert isinstance(gone.exception(), StorageFull)
        assert waiters.durable(fresh, 0, 0).result() == 0

    asyncio.run(main())


def test_what_is_not_bytes_is_refused_and_nothing_of_it_is_stored(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        for wrong in ([1, 2, 3], 7, None):
            with pytest.raises(UsageError, match="bytes or text"):
                await agent.produce("t", wrong)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="takes bytes, not str"):
            await agent.produce_many("t", [b"a", "b"])  # type: ignore[list-item]
        with pytest.raises(UsageError, match="too large"):
            await agent.produce_many("t", [b"a"] * 5000 + [bytes(70_000)])
        assert agent.node.log("t").next == 0
        await agent.produce("t", memoryview(b"abcdefgh").cast("I"))  # type: ignore[arg-type]
        assert await values(agent) == [b"abcdefgh"]

    run(tmp_path, test)


def test_an_ack_that_could_never_come_is_refused(tmp_path: Path) -> None:
    async def test(agent: Agent) -> None:
        with pytest.raises(UsageError, match="never goes to a cloud"):
            await agent.produce("t", b"x", ack="cloud")

    run(tmp_path, test)


# Keyed topics, and what flows down.

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "merge"
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


@pytest.mark.parametrize("module", ["python:union_of_lines.py", "wasm:union_of_lines.wasm"])
def test_a_merge_module_beside_the_configuration_is_used(tmp_path: Path, module: str) -> None:
    if module.startswith("wasm"):
        pytest.importorskip("wasmtime")
    (tmp_path / "union_of_lines.py").write_bytes((EXAMPLES / "union_of_lines.py").read_bytes())
    (tmp_path / "union_of_lines.wasm").write_bytes((EXAMPLES / "union_of_lines.wasm").read_bytes())
    (tmp_path / "edge.yaml").write_text(
        "node_id: n1\ndata_dir: d\nsync_topics: [{topic: state, kind: keyed, direction: bidirectional}]\n"
        f"conflict_resolution: custom_merge\nmerge: {module}\n"
    )

    async def main() -> None:
        async with Agent(config_file.load(tmp_path / "edge.yaml")) as agent:
            await agent.produce("state", b"ours\n", key="k")
            await from_elsewhere(agent, b"k", b"theirs\n")
            assert agent.get("state", "k") == b"ours\ntheirs\n"
            found = agent.explain("state", "k")["conflict"]
            assert (found["resolution"], len(found["winners"])) == ("merged", 2)
            assert agent.report_health() == {"healthy": True, "problems": []}

    asyncio.run(main())


def test_a_merge_module_that_fails_shows_every_version_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def merge(key, earlier, later):\n    return 1 // 0\n")

    async def test(agent: Agent) -> None:
        await agent.produce("state", b"ours", key="k")
        await from_elsewhere(agent, b"k", b"theirs")
        found = agent.explain("state", "k")
        assert found["conflict"]["resolution"] == "both" and "ZeroDivisionError" in found["conflict"]["merge_failure"]
        assert found["shown"] == "theirs" and len(found["versions"]) == 2
        assert agent.report_health()["problems"] == ["state: its merge module failed 1 times; every version is shown"]

    run(tmp_path, test, **topic(strategy="custom_merge", merge=f"python:{tmp_path}/m.py"))


WRONG_MODULES = {
    "none.py": None,
    "empty.py": b"",
    "number.py": b"merge = 5",
    "syntax.py": b"def merge(",
    "raises.py": b"raise RuntimeError('at import')",
    "text.wasm": b"(module)",
}


@pytest.mark.parametrize("name", sorted(WRONG_MODULES))
def test_a_merge_module_that_cannot_work_is_refused_at_start_by_name(tmp_path: Path, name: str) -> None:
    if name.endswith(".wasm"):
        pytest.importorskip("wasmtime")
    content = WRONG_MODULES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refused_at_start(tmp_path, name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(module)", "must export a memory"),
        ('(module (memory (export "memory") 1) (func (export "merge")))', "must export a function alloc"),
        ('(module (import "x" "y" (func)) (memory (export "memory") 1))', "imports"),
    ],
)
def test_webassembly_with_wrong_exports_is_refused_at_start_by_name(tmp_path: Path, text: str, said: str) -> None:
    wasmtime = pytest.importorskip("wasmtime")
    (tmp_path / "wrong.wasm").write_bytes(wasmtime.wat2wasm(text))
    assert said in refused_at_start(tmp_path, "wrong.wasm")


def refused_at_start(folder: Path, name: str) -> str:
    """Nothing is left behind: not even the data directory."""
    module = f"{'wasm' if name.endswith('.wasm') else 'python'}:{folder}/{name}"

    async def main() -> str:
        with pytest.raises(UsageError) as caught:
            await Agent(config(folder, **topic(strategy="custom_merge", merge=module))).start()
        return str(caught.value)

    text = asyncio.run(main())
    assert text.startswith(f"topic state: merge module {module}: ") and "\n" not in text
    assert not (folder / "d").exists()
    return text


def test_a_topic_that_does_not_fit_together_is_refused_by_name(tmp_path: Path) -> None:
    for wrong, said in (
        (topic(strategy="newest_wins"), "sync_topics[0].strategy: 'newest_wins' is not allowed; use one of last_write_wins"),
        (topic(strategy="custom_merge"), "sync_topics[0].merge: is missing"),
        (topic(merge="python:m.py"), "sync_topics[0].merge: is for the strategy custom_merge"),
        (topic(kind="table"), "sync_topics[0].kind: 'table' is not allowed; use one of log, keyed"),
        (topic(kind="log", strategy="edge_wins"), "sync_topics[0].strategy: is for topics of kind keyed"),
        ({"conflict_resolution": "mine"}, "conflict_resolution: 'mine' is not allowed"),
    ):
        with pytest.raises(ConfigError) as caught:
            config(tmp_path, **wrong)
        assert str(caught.value).startswith(said), caught.value


def test_who_produces_without_waiting_can_wait_for_room(tmp_path: Path) -> None:
    async def run() -> None:
        given = {"node_id": "n", "data_dir": str(tmp_path / "d"), "local_topics": ["t"], "log": {"buffer_bytes": 70000}}
        async with Agent(EdgeConfig.from_dict(given)) as agent:
            stored = refused = 0
            while stored < 2000:
                try:
                    agent.produce_nowait("t", bytes(1000))
                    stored += 1
                except QueueFull as full:
                    refused += 1
                    await agent.room(full)
            while agent.producer.buffered_bytes():
                await agent.room()
            assert refused > 0 and agent.ledger()[0]["produced"] == 2000

    asyncio.run(run())
