"""How an application in this process reads logs: from an offset, from a time, or as a consumer with a name, which goes on where it was.

Rule: only what is durable is shown, and what is gone is shown as a gap. A named consumer has done with a record when it asks for what
comes after the piece that it was in: after a crash that piece comes again. Knows nothing of the control socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .plain_values import plain_ms

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig
    from streamline_core.consumer import Consumer, Gap
    from streamline_core.node import Node
    from streamline_core.record import Record

    from .waiters import Waiters

TAKE_BYTES_MAX = 65536


class Readers:
    """A part of Agent."""

    config: EdgeConfig
    node: Node
    _waiters: Waiters
    _running: bool
    poke: Callable[[], None]

    async def consume(
        self,
        topic: str,
        partition: int = 0,
        from_offset: int = 0,
        from_time: int | datetime | None = None,
        follow: bool = False,
        feed: bool = False,
        consumer: str | None = None,
    ) -> AsyncIterator[Record | Gap]:
        """Each durable record of a partition from an offset, or from the first one at or after a time (ms or datetime).

        A Gap stands for offsets that are gone. Ends at the durable end, or with `follow` waits for more. feed: what the cloud sent, by
        cloud offset, instead of what was written here; so it is anyway of a topic that only flows down. consumer: a name; it goes on
        where it was, over restarts, whatever `from_offset` says. Raises: UsageError.
        """
        if consumer is not None:
            reader = self.node.consumers.open(consumer, topic, partition, feed)
            async for taken in self.pieces(reader, follow):
                for item in taken:
                    yield item
                self.commit(consumer, topic, partition, feed, reader.epoch, reader.offset)
            return
        if from_time is not None:
            from_offset = self.offset_at(topic, partition, plain_ms(from_time), feed)
        async for taken in self.pieces(self.reader(topic, partition, from_offset, feed), follow):
            for item in taken:
                yield item

    def offset_at(self, topic: str, partition: int, time_ms: int, feed: bool = False) -> int:
        """The first offset stamped at `time_ms` (since 1970 UTC) or later. feed: as for `consume`. Raises: UsageError."""
        return self.node.offset_at(topic, partition, time_ms, feed)

    def reader(self, topic: str, partition: int, offset: int, feed: bool) -> Consumer:
        """Raises: UsageError."""
        return self.node.consumer(topic, partition, offset, feed)

    async def pieces(self, reader: Consumer, follow: bool) -> AsyncIterator[Sequence[Record | Gap]]:
        """What `consume` gives, in the lists in which the log gives it."""
        while self._running:
            taken = reader.take(TAKE_BYTES_MAX)
            if taken:
                yield taken
                await asyncio.sleep(0)
            elif follow:
                await self._waiters.more()
            else:
                return

    def commit(self, consumer: str, topic: str, partition: int, feed: bool, epoch: int, offset: int) -> None:
        """A named consumer has done with all below `offset` of an epoch; durable soon. Raises: UsageError."""
        self.node.consumers.commit(consumer, topic, partition, feed, epoch, offset)
        self.poke()

    def consumers(self) -> list[dict[str, Any]]:
        """Where each named consumer is, and how far behind: see `LocalConsumers.status`."""
        rows: list[dict[str, Any]] = self.node.consumers.status()
        return rows
