"""The edge agent: the asyncio shell around one Node, and the Python API for applications inside this process.

Rule: the node decides, this file only wakes it: after any input it gets its turn soon, once, however many inputs there
were. Nothing here is done per record beyond handing it over. Knows nothing of the control socket and of ingest, which
use it as an application does.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from streamline_core import VERSION
from streamline_core.batch import HEADER_BYTES
from streamline_core.control_records import ACKS
from streamline_core.errors import BacklogFull, QueueFull, StorageFull, StreamlineError, UsageError
from streamline_core.health import Health, limit_problems, waits
from streamline_core.node import Node
from streamline_core.resources import CONNECTIONS
from streamline_host.codecs import codecs
from streamline_host.meter import ProcessMeter
from streamline_host.ports import SystemClock, SystemEntropy

from . import config_reload, leftovers
from .carried_node import CarriedLine
from .keyed_topics import KeyedTopics, load_merges
from .limited import MEMORY_LOOK_SECS, MEMORY_SECS_MAX, Limited
from .plain_values import Headers, plain_bytes, plain_record
from .posix_storage import PosixStorage
from .readers import Readers
from .uplink import Uplink
from .waiters import RecordLost, Waiters

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig
    from streamline_core.log import Log

    from .config_reload import Reload

__all__ = ["Agent", "QueueFull", "RecordLost", "StorageFull", "StreamlineError", "UsageError"]

log = logging.getLogger("streamline.agent")

LENGTH_BYTES = 2  # of each value in a dense batch
SLICE_RECORDS = 2000  # produce_many lets the loop have its turn after as many
CLOSE_SECS_MAX = 10.0
RECOVER_SECS_MAX = 10.0
HEALTH_SECS = 5.0


class Agent(Readers, KeyedTopics, Limited):
    """One edge node in this process. Use from one event loop: `start`, produce and consume, `stop`.

    Raises (start): UsageError where another agent holds the data directory, the configuration cannot be honoured, or a merge module does
    not load.
    """

    def __init__(self, config: EdgeConfig) -> None:
        self.config = config
        self._clock = SystemClock()
        self._tick_soon = False
        self._timer: asyncio.TimerHandle | None = None
        self._health_timer: asyncio.TimerHandle | None = None
        self._running = False

    # Life.

    async def start(self) -> None:
        """Recover the logs, begin connecting. Does not wait for any broker."""
        loop = self._loop = asyncio.get_running_loop()
        config = self.config
        merges = load_merges(config)
        self._read_limits()
        self._storage = PosixStorage(config.data_dir, self._synced, loop, files_max=self._files_max())
        try:
            self.node = Node(config, self._clock, self._storage, SystemEntropy(), codecs(config.sync.compression), merges, ProcessMeter())
            self._waiters = Waiters(loop)
            self._needs()
            self.node.open()
            self.node.resources.opened()
            own = {"status": self.status, "health": self.report_health, "resources": self.resources}
            self.uplink = Uplink(config, self.node, self.poke, own) if config.cloud_endpoint else None
            self.lines = CarriedLine.of(config)
            self._enforce()
            self.node.resources.allocate(CONNECTIONS, len(self.lines) + (self.uplink is not None))
        except BaseException:
            self._storage.close()
            raise
        self._leftovers = leftovers.find(self._storage, [stream.folder for stream in self.node.every_log()])
        for problem in leftovers.problems(self._leftovers):
            log.warning("%s", problem)
        self.health = Health(self._clock.monotonic_ms())
        self._running = True
        if self.uplink is not None:
            self.uplink.start()
        for line in self.lines:
            line.start()
        await self._recovered()
        self._watch_health()
        log.info("node %s: data in %s, %d topics", config.node_id, config.data_dir, len(config.topics))

    async def _recovered(self) -> None:
        """What recovery found is offered to readers once it is known to be on the disk."""
        self._tick()
        deadline = self._loop.time() + RECOVER_SECS_MAX
        while self._loop.time() < deadline and any(
            stream.durable < stream.written and stream.failure is None for stream in self._every_log()
        ):
            await asyncio.wait((self._waiters.room(),), timeout=0.1)

    def _every_log(self) -> list[Log]:
        """Of what is written here, and of what comes from elsewhere."""
        node = self.node
        return node.logs() + node.tables.logs() + [stream for feed in node.downlink.partitions() for stream in feed.logs()]

    async def stop(self) -> None:
        """Disconnect, make all that was accepted durable (within 10 s), and let go of the data directory."""
        if not self._running:
            return
        await asyncio.gather(*[line.stop() for line in self.lines])
        if self.uplink is not None:
            await self.uplink.stop()
            self.node.link_down("the agent stops")
        self.node.close()
        deadline = self._loop.time() + CLOSE_SECS_MAX
        while not self.node.idle and self._loop.time() < deadline:
            self._tick()
            await asyncio.sleep(0.002)
        if not self.node.idle:
            log.warning("storage did not finish within %d s; what was not durable may be lost", CLOSE_SECS_MAX)
        self._running = False
        for timer in (self._timer, self._health_timer):
            if timer is not None:
                timer.cancel()
        self._waiters.close()
        self._storage.close()

    async def __aenter__(self) -> Agent:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    # Producing.

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
                stream, offset = self.node.produce(topic, value, key, headers, timestamp)
                break
            except QueueFull as full:
                await self.room(full)
        if not self._tick_soon:
            self.poke()
        if ack == "buffered":
            return offset
        wait = self._waiters.durable if ack == "durable" else self._waiters.cloud
        return await wait(stream, offset, offset + 1)

    async def delete(self, topic: str, key: bytes | str, ack: str = "durable") -> int:
        """Delete a key of a keyed topic, and wait for `ack`; it need not be there. Returns and raises as `produce`."""
        self.check_ack(topic, ack)
        plain = plain_bytes("key", key)
        while True:
            try:
                stream, offset = self.node.delete(topic, plain)
                break
            except QueueFull as full:
                await self.room(full)
        self.poke()
        if ack == "buffered":
            return offset
        wait = self._waiters.durable if ack == "durable" else self._waiters.cloud
        return await wait(stream, offset, offset + 1)

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
        offset = self.node.produce(topic, value, key, headers, timestamp)[1]
        if not self._tick_soon:
            self.poke()
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
            self.poke()
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

    async def slices(
        self, topic: str, values: list[bytes], partition: int = -1, producer: int = 0, sequence: int = 0
    ) -> AsyncIterator[tuple[Log, int, int]]:
        """Hand values to the node, as many at once as its limits take, and wait for room: (log, first offset, next offset) of each slice.

        Raises as `produce`; slices that were given are stored."""
        at, size = 0, SLICE_RECORDS
        while at < len(values):
            part = values[at : at + size]
            try:
                stored = self.node.produce_many(topic, part, partition, producer, sequence + at)
            except QueueFull as full:
                if len(part) > 1 and not self._fits(full):
                    size = max(1, len(part) // 2)
                else:
                    await self.room(full)
                continue
            at += len(part)
            yield stored

    async def _memory_freed(self, full: QueueFull) -> None:
        """Wait until memory is free again. Raises `full` where that takes too long."""
        give_up = self._loop.time() + MEMORY_SECS_MAX
        while self.node.resources.memory_full:
            if self._loop.time() > give_up:
                raise full
            await asyncio.sleep(MEMORY_LOOK_SECS)
            self.poke()

    def _fits(self, full: QueueFull) -> bool:
        """Whether what was refused would fit if there were room: not where it alone is more than the buffer, or the queue, holds."""
        if isinstance(full, BacklogFull):
            return full.fits
        return self.node_buffered() > 0 or self.node.resources.memory_full or self.node.evictor.catching_up

    def check_ack(self, topic: str, ack: str) -> None:
        if ack not in ACKS:
            raise UsageError(f"ack {ack!r} is not allowed; use one of {', '.join(ACKS)}")
        if ack == "cloud" and (self.config.cloud_endpoint is None or self.node.log(topic).local):
            raise UsageError(f"ack 'cloud' would wait for ever: {topic} never goes to a cloud from here; use durable")

    def _check_all(self, topic: str, values: list[bytes], partition: int) -> None:
        """Refuse what the log would refuse later, before any of it is stored."""
        strange = set(map(type, values)) - {bytes}
        if strange:
            raise UsageError(f"produce_many takes bytes, not {strange.pop().__name__}")
        most = self.node.log(topic, max(0, partition)).limits.batch_bytes - HEADER_BYTES - LENGTH_BYTES
        if values and max(map(len, values)) > most:
            raise UsageError(f"a record of {max(map(len, values))} bytes is too large for {topic}: at most {most} fit a batch")

    def node_buffered(self) -> int:
        """Bytes accepted and not yet durable, of the fullest log."""
        return max((stream.buffered_bytes for stream in self.node.logs()), default=0)

    async def room(self, full: QueueFull | None = None) -> None:
        """Wait until what was full may have room: something became durable, or reached the cloud, or memory is free again. Without `full`:
        until something that is buffered became durable. Raises `full` where waiting is no use, or not wanted."""
        if isinstance(full, BacklogFull):
            if not full.waits:
                raise full
            await self._waiters.backlog()
        elif full is not None and self.node.resources.memory_full:
            await self._memory_freed(full)
        elif self.node_buffered() or self.node.evictor.catching_up:
            self.poke()
            await self._waiters.room()
        elif full is not None:
            raise full

    # Looking and steering.

    def status(self) -> dict[str, Any]:
        """What the node knows of itself, the link and the process. JSON-able."""
        status: dict[str, Any] = self.node.status()
        status["link"] = self.uplink.status() if self.uplink is not None else None
        status["serial"] = [line.status() for line in self.lines]
        status["data_dir"], status["pid"], status["version"] = self.config.data_dir, os.getpid(), VERSION
        failed = [(stream.folder, stream.failure) for stream in self._every_log() if stream.failure is not None]
        status["storage_failures"] = [f"{folder}: {failure}" for folder, failure in failed]
        return status

    def ledger(self) -> list[dict[str, Any]]:
        """For each stream: produced = delivered + pending + lost."""
        rows: list[dict[str, Any]] = self.node.ledger()
        return rows

    def report_health(self) -> dict[str, Any]:
        """{"healthy": bool, "problems": [text, …]} as of now."""
        self._look()
        return self.health.report(self._clock.monotonic_ms())

    def _look(self) -> None:
        node = self.node
        problems = limit_problems(node) + [line.problem for line in self.lines if line.problem]
        if self._leftovers:
            self._leftovers = [it for it in self._leftovers if self._storage.list(it.folder)]
            problems += leftovers.problems(self._leftovers)
        self.health.observe(self._clock.monotonic_ms(), self.status(), self.ledger(), problems, waits(node))

    def sync_now(self) -> None:
        self.node.sync_now()
        self.poke()

    def pause(self) -> None:
        self.node.pause()
        self.poke()

    def resume(self) -> None:
        self.node.resume()
        self.poke()

    async def reconfigure(self, new: EdgeConfig) -> Reload:
        """Take over what of `new` can change while the agent runs. Returns what that was, and what needs a restart. Raises UsageError where
        a limit is less than the node needs: nothing has changed then."""
        self._lay_limits(new)
        found = config_reload.compare(self.config, new)
        if found.live:
            config_reload.apply(self.config, new)
            self.node.reconfigured()
            self._enforce()
            if self.uplink is not None:
                await self.uplink.reconfigured()
            self.poke()
        return found

    def durable(self, stream: Any, first: int, end: int) -> asyncio.Future[int]:
        """For the doors (control socket, ingest), which hand records to `node` themselves: answered when they are on the disk."""
        self.poke()
        return self._waiters.durable(stream, first, end)

    def reached(self, ack: str, stream: Any, first: int, end: int) -> asyncio.Future[int]:
        """As `durable`, for any of `control_records.ACKS`."""
        if ack == "durable":
            return self.durable(stream, first, end)
        self.poke()
        if ack == "cloud":
            return self._waiters.cloud(stream, first, end)
        accepted: asyncio.Future[int] = self._loop.create_future()
        accepted.set_result(first)
        return accepted

    # The shell.

    def poke(self) -> None:
        """Let the node have its turn soon."""
        if not self._tick_soon and self._running:
            self._tick_soon = True
            self._loop.call_soon(self._tick)

    def _synced(self, ticket: int, error: Exception | None) -> None:
        self.node.synced(ticket, error)
        if error is not None:
            log.error("storage: %s", error)
        self._waiters.synced()
        self.poke()

    def _tick(self) -> None:
        self._tick_soon = False
        deadline_ms = self.node.tick()
        if self.uplink is not None and self.uplink.pump():
            self.poke()
        self._waiters.acked(self.node.queue.has_room)
        self._waiters.ticked()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline_ms is not None and deadline_ms >= 0 and not self._tick_soon and self._running:
            delay_ms = max(0, deadline_ms - self._clock.monotonic_ms())
            self._timer = self._loop.call_later(delay_ms / 1000, self.poke)

    def _watch_health(self) -> None:
        self._look()
        self._health_timer = self._loop.call_later(HEALTH_SECS, self._watch_health)
