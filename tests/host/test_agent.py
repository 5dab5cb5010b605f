"""The Python API: what each ack promises, full buffers, failing disks, stop and start."""

import asyncio
import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local_agent import config, run, values
from streamline_core.config import EdgeConfig
from streamline_core.errors import QueueFull, StorageFull, StreamlineError, UsageError
from streamline_edge.agent import Agent


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


def test_before_the_start_and_after_the_stop_it_says_so_and_takes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        agent = Agent(config(tmp_path))
        with pytest.raises(AttributeError, match="await agent.start"):
            await agent.produce("t", b"early")
        await agent.start()
        with pytest.raises(UsageError, match="runs already"):
            await agent.start()
        assert await agent.produce("t", b"in time") == 0
        await agent.stop()
        for call in (agent.produce("t", b"late"), agent.produce("t", b"late", ack="buffered"), agent.produce_many("t", [b"late"])):
            with pytest.raises(UsageError, match="has stopped"):
                await asyncio.wait_for(call, 10)
        with pytest.raises(UsageError, match="has stopped"):
            agent.produce_nowait("t", b"late")
        await agent.start()
        assert await values(agent) == [b"in time"]
        await agent.stop()

    asyncio.run(main())


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
