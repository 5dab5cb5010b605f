"""Who waits for an ack is answered once: by the offset, by what took the record, or by where a fork has moved it."""

import asyncio
from typing import Any

from streamline_core.errors import StorageFull
from streamline_edge.waiters import RecordLost, Waiters


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
