"""What is produced at the cloud, for whoever waits for it: the hub accepts, the store commits, a future tells.

Rule: a future is answered when the record is committed, or will never be; where the hub has no room, whoever produces waits. Must not
know: sockets, brokers, SQL.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streamline_core.errors import QueueFull, StreamlineError, UsageError
from streamline_core.hub import Hub
from streamline_core.hub_writer import Written
from streamline_core.topic import TopicDefinition

from .store_sqlite import SqliteStore

FINAL = (UsageError, ValueError, TypeError, ArithmeticError)  # errors of a commit that the hub does not try again
UNKNOWN = "topic %r is not known here: `streamline-cloud define %s --direction cloud_to_edge` defines it, or an edge that has it"
Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Produced:
    """A record that is committed. cloud_offset: where it is in what the partition's edges and the cloud have written; offset, epoch: in the
    cloud's own stream."""

    topic: str
    partition: int
    cloud_offset: int
    epoch: int
    offset: int


class Publisher:
    """wake(): gives the hub its turn soon. The shell calls `committed` after each commit."""

    def __init__(self, hub: Hub, store: SqliteStore, wake: Callable[[], None]) -> None:
        self._hub = hub
        self._store = store
        self._wake = wake
        self._waiting: set[asyncio.Future[Produced]] = set()
        self._defining: dict[str, list[asyncio.Future[None]]] = {}
        self._turn: asyncio.Future[None] | None = None  # the next commit
        self._closed: Exception | None = None

    def define(self, topic: str, definition: TopicDefinition) -> "asyncio.Future[None]":
        """Define a topic at once; await what is returned to have it committed. Raises UsageError for a name, or where the topic is defined
        and differs."""
        self._check_open()
        self._hub.define(topic, definition)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._store.load_topic(topic) is not None:
            future.set_result(None)
        else:
            future.add_done_callback(heard)
            self._defining.setdefault(topic, []).append(future)
        self._wake()
        return future

    async def accept(
        self, topic: str, value: bytes | None, key: bytes | None = None, headers: Headers = (), timestamp_ms: int | None = None
    ) -> "asyncio.Future[Produced]":
        """Hand a record to the hub, waiting for room; the future is answered when it is committed. Raises UsageError."""
        while True:
            self._check_open()
            if self._hub.streams.definition(topic) is None:
                raise UsageError(UNKNOWN % (topic, topic))
            try:
                written = self._hub.produce(topic, value, key, headers, timestamp_ms)
                break
            except QueueFull:
                await self.next_commit()
        future: asyncio.Future[Produced] = asyncio.get_running_loop().create_future()
        future.add_done_callback(heard)
        future.add_done_callback(self._waiting.discard)
        self._waiting.add(future)
        written.done = lambda error: self._done(written, future, error)
        self._wake()
        return future

    async def produce(
        self, topic: str, value: bytes, key: bytes | None = None, headers: Headers = (), timestamp_ms: int | None = None
    ) -> Produced:
        """Write a record and wait until it is committed. Raises UsageError; StreamlineError where it will never be."""
        return await (await self.accept(topic, value, key, headers, timestamp_ms))

    async def delete(self, topic: str, key: bytes) -> Produced:
        """Write that a key of a keyed topic is deleted. Raises as `produce`."""
        return await (await self.accept(topic, None, key))

    def _done(self, written: Written, future: "asyncio.Future[Produced]", error: Exception | None) -> None:
        if future.done():
            return  # nobody waits for it any more
        if error is None:
            stream = written.stream
            try:
                cloud_offset = self._store.load_cloud_offset(stream, written.offset)
                future.set_result(Produced(stream.topic, stream.partition, cloud_offset, stream.epoch, written.offset))
                return
            except Exception as problem:  # the hub that tells us must not suffer from it
                error = problem
        future.set_exception(error)

    def committed(self, error: Exception | None) -> None:
        """A commit ended."""
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)
        for topic in list(self._defining):
            if isinstance(error, FINAL):
                self._answer(topic, error)
            elif error is None and self._store.load_topic(topic) is not None:
                self._answer(topic, None)

    def _answer(self, topic: str, error: Exception | None) -> None:
        for future in self._defining.pop(topic):
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    async def next_commit(self) -> None:
        """Until a commit has ended, well or not."""
        if self._turn is None or self._turn.done():
            self._turn = asyncio.get_running_loop().create_future()
        self._wake()
        await asyncio.shield(self._turn)

    @property
    def idle(self) -> bool:
        """Nobody waits for a commit."""
        return not self._waiting and not self._defining

    async def finish(self, secs: float) -> None:
        """Take nothing more, and wait at most so long for what is under way; whoever still waits then hears an error."""
        self._closed = self._closed or StreamlineError("the bridge stops")
        deadline = asyncio.get_running_loop().time() + secs
        while not self.idle and asyncio.get_running_loop().time() < deadline:
            self._wake()
            waiting: list[asyncio.Future[Any]] = [*self._waiting, *itertools.chain(*self._defining.values())]
            await asyncio.wait(waiting, timeout=0.05)
        self.fail(self._closed)

    def fail(self, error: Exception) -> None:
        """Take nothing more; whoever waits hears this error."""
        self._closed = error
        for future in list(self._waiting):
            if not future.done():
                future.set_exception(error)
        for topic in list(self._defining):
            self._answer(topic, error)
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def _check_open(self) -> None:
        if self._closed is not None:
            raise self._closed


def heard(future: "asyncio.Future[Any]") -> None:
    """An error that nobody awaited is no news for the log."""
    if not future.cancelled():
        future.exception()
