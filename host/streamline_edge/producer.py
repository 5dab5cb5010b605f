"""How records get into an agent: accepted as soon as the node has room, answered once they have got as far as somebody wants to wait for.

Rule: nothing of what is refused is stored, and who waits for room waits only where waiting helps. Knows nothing of who produces: an
application in this process, the control socket, or ingest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from streamline_core.batch import HEADER_BYTES
from streamline_core.control_records import ACKS
from streamline_core.errors import BacklogFull, QueueFull, UsageError

from .limited import MEMORY_LOOK_SECS, MEMORY_SECS_MAX
from .plain_values import Headers, plain_bytes, plain_record

if TYPE_CHECKING:
    from streamline_core.log import Log

    from .agent import Agent
    from .waiters import Waiters

LENGTH_BYTES = 2  # of each value in a dense batch
SLICE_RECORDS = 2000  # produce_many lets the loop have its turn after as many


class _Stopped:
    """In the place of a node that takes nothing any more."""

    def __getattr__(self, name: str) -> Any:
        raise UsageError("the agent has stopped: nothing is stored any more; start it again")


class Producer:
    """agent: whose node stores them; waiters: who is told how far they got."""

    def __init__(self, agent: Agent, waiters: Waiters) -> None:
        self._agent = agent
        self._config = agent.config
        self._node = agent.node
        self._waiters = waiters
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """From now on everything is refused with UsageError."""
        self._node = _Stopped()  # type: ignore[assignment]  # so that no record pays for the question

    # An application's

    async def produce(
        self,
        topic: str,
        value: bytes | str,
        key: bytes | str | None = None,
        headers: Headers | None = None,
        timestamp: int | datetime | None = None,
        ack: str = "durable",
    ) -> int:
        """Store one record and wait for `ack`: "buffered" (accepted), "durable" (on the disk), "cloud" (committed
        there).

        value, key: bytes, or text that becomes UTF-8. headers: (name, bytes) pairs. timestamp: ms since 1970 UTC or a
        datetime. Waits while the buffer is full. Returns the offset in its partition. Raises: UsageError (unknown
        topic, too large, no key for a keyed topic), StorageFull, QueueFull (sync.max_queue_size), RecordLost (ack "cloud").
        """
        if ack != "durable":
            self.check_ack(topic, ack)
        if key is not None or timestamp is not None or headers or type(value) is not bytes:
            value, key, headers, timestamp = plain_record(value, key, headers, timestamp)
        while True:
            try:
                stream, offset = self._node.produce(topic, value, key, headers, timestamp)
                break
            except QueueFull as full:
                await self.room(full)
        if not self._agent.tick_soon:  # without a call for each record
            self._agent.poke()
        if ack == "buffered":
            return offset
        wait = self._waiters.durable if ack == "durable" else self._waiters.cloud
        return await wait(stream, offset, offset + 1)

    async def delete(self, topic: str, key: bytes | str, ack: str = "durable") -> int:
        """Delete a key of a keyed topic, and wait for `ack`; it need not be there. Returns and raises as `produce`."""
        self.check_ack(topic, ack)
        stream, offset = await self.accepted(self._node.delete, topic, plain_bytes("key", key))
        return await self.reached(ack, stream, offset, offset + 1)

    def produce_nowait(
        self,
        topic: str,
        value: bytes | str,
        key: bytes | str | None = None,
        headers: Headers | None = None,
        timestamp: int | datetime | None = None,
    ) -> int:
        """Accept one record into the buffer and return its offset at once; it becomes durable within the commit
        interval.

        Raises: QueueFull when log.buffer_bytes wait for the disk (let the loop run, then try again), and as `produce`.
        """
        if key is not None or timestamp is not None or headers or type(value) is not bytes:
            value, key, headers, timestamp = plain_record(value, key, headers, timestamp)
        offset = self._node.produce(topic, value, key, headers, timestamp)[1]
        if not self._agent.tick_soon:
            self._agent.poke()
        return offset

    async def produce_many(self, topic: str, values: Iterable[bytes], ack: str = "durable", partition: int = -1) -> int:
        """Store many values, in order, and wait for `ack` of the last. Waits while the buffer is full.

        values: bytes only. partition: -1 lets the node choose for each slice. Returns how many were stored. Raises as
        `produce`.
        """
        self.check_ack(topic, ack)
        everything = values if isinstance(values, list) else list(values)
        self._check_all(topic, everything, partition)
        waits: deque[asyncio.Future[int]] = deque()
        async for stream, first, end in self.slices(topic, everything, partition):
            self._agent.poke()
            if ack == "durable" and end > first:
                waits.append(self._waiters.durable(stream, first, end))
            elif ack == "cloud" and end > first:
                waits.append(self._waiters.cloud(stream, first, end))
            await asyncio.sleep(0)
            while waits and waits[0].done():
                waits.popleft().result()
        for wait in waits:
            await wait
        return len(everything)

    # For the doors (control socket, ingest), too

    def check_ack(self, topic: str, ack: str) -> None:
        if ack not in ACKS:
            raise UsageError(f"ack {ack!r} is not allowed; use one of {', '.join(ACKS)}")
        if ack == "cloud" and (self._config.cloud_endpoint is None or self._node.log(topic).local):
            raise UsageError(f"ack 'cloud' would wait for ever: {topic} never goes to a cloud from here; use durable")

    async def accepted(self, hand_over: Callable[..., tuple[Log, int]], *record: Any) -> tuple[Log, int]:
        """What `produce` or `delete` of the node says to a record, as soon as it has room: to be unpacked at once, as theirs. Raises as
        `produce`."""
        while True:
            try:
                return hand_over(*record)
            except QueueFull as full:
                await self.room(full)

    async def slices(
        self, topic: str, values: list[bytes], partition: int = -1, producer: int = 0, sequence: int = 0
    ) -> AsyncIterator[tuple[Log, int, int]]:
        """Hand values to the node, as many at once as its limits take, and wait for room: (log, first offset, next offset) of each slice.

        Raises as `produce`; slices that were given are stored."""
        at, size = 0, SLICE_RECORDS
        while at < len(values):
            part = values[at : at + size]
            try:
                stored = self._node.produce_many(topic, part, partition, producer, sequence + at)
            except QueueFull as full:
                if len(part) > 1 and not self._fits(full):
                    size = max(1, len(part) // 2)
                else:
                    await self.room(full)
                continue
            at += len(part)
            yield stored

    def reached(self, ack: str, stream: Any, first: int, end: int) -> asyncio.Future[int]:
        """As `durable`, for any of `control_records.ACKS`."""
        if ack == "durable":
            return self.durable(stream, first, end)
        self._agent.poke()
        if ack == "cloud":
            return self._waiters.cloud(stream, first, end)
        accepted: asyncio.Future[int] = self._loop.create_future()
        accepted.set_result(first)
        return accepted

    def durable(self, stream: Any, first: int, end: int) -> asyncio.Future[int]:
        """Answered when those records are on the disk. Lets the node have its turn."""
        self._agent.poke()
        return self._waiters.durable(stream, first, end)

    async def room(self, full: QueueFull | None = None) -> None:
        """Wait until what was full may have room: something became durable, or reached the cloud, or memory is free again. Without `full`:
        until something that is buffered became durable. Raises `full` where waiting is no use, or not wanted."""
        if isinstance(full, BacklogFull):
            if not full.waits:
                raise full
            await self._waiters.backlog()
        elif full is not None and self._node.resources.memory_full:
            await self._memory_freed(full)
        elif self.buffered_bytes() or self._node.evictor.catching_up:
            self._agent.poke()
            await self._waiters.room()
        elif full is not None:
            raise full

    def buffered_bytes(self) -> int:
        """Bytes accepted and not yet durable, of the fullest log."""
        return max((stream.buffered_bytes for stream in self._node.logs()), default=0)

    # Limits

    def _check_all(self, topic: str, values: list[bytes], partition: int) -> None:
        """Refuse what the log would refuse later, before any of it is stored."""
        strange = set(map(type, values)) - {bytes}
        if strange:
            raise UsageError(f"produce_many takes bytes, not {strange.pop().__name__}")
        most = self._node.log(topic, max(0, partition)).limits.batch_bytes - HEADER_BYTES - LENGTH_BYTES
        if values and max(map(len, values)) > most:
            raise UsageError(f"a record of {max(map(len, values))} bytes is too large for {topic}: at most {most} fit a batch")

    def _fits(self, full: QueueFull) -> bool:
        """Whether what was refused would fit if there were room: not where it alone is more than the buffer, or the queue, holds."""
        if isinstance(full, BacklogFull):
            return full.fits
        return self.buffered_bytes() > 0 or self._node.resources.memory_full or self._node.evictor.catching_up

    async def _memory_freed(self, full: QueueFull) -> None:
        """Wait until memory is free again. Raises `full` where that takes too long."""
        give_up = self._loop.time() + MEMORY_SECS_MAX
        while self._node.resources.memory_full:
            if self._loop.time() > give_up:
                raise full
            await asyncio.sleep(MEMORY_LOOK_SECS)
            self._agent.poke()
