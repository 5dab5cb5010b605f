"""The edge agent: the asyncio shell around one Node, and the Python API for applications inside this process.

Rule: the node decides, this file only wakes it: after any input it gets its turn soon, once, however many inputs there were. Nothing here
is done per record: those go through `producer.py`. Knows nothing of the control socket and of ingest, which use it as an application does.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from streamline_core import VERSION
from streamline_core.errors import QueueFull, StorageFull, StreamlineError, UsageError
from streamline_core.health import Health, limit_problems, waits
from streamline_core.node import Node
from streamline_core.resources import CONNECTIONS
from streamline_host.codecs import codecs
from streamline_host.meter import ProcessMeter
from streamline_host.ports import SystemClock, SystemEntropy

from . import config_reload, leftovers
from .acknowledged import Acknowledged
from .carried_node import CarriedLine
from .keyed_topics import KeyedTopics, load_merges
from .limited import Limited
from .posix_storage import PosixStorage
from .producer import Producer
from .readers import Readers
from .uplink import Uplink
from .waiters import RecordLost, Waiters

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig

    from .config_reload import Reload

__all__ = ["Agent", "QueueFull", "RecordLost", "StorageFull", "StreamlineError", "UsageError"]

log = logging.getLogger("streamline.agent")

CLOSE_SECS_MAX = 10.0
RECOVER_SECS_MAX = 10.0
HEALTH_SECS = 5.0


class Agent(Readers, KeyedTopics, Limited):
    """One edge node in this process. Use from one event loop: `start`, produce and consume, `stop`. `produce`, `produce_many`,
    `produce_nowait`, `room` and `delete` are those of `Producer`.

    Raises (start): UsageError where another agent holds the data directory, the configuration cannot be honoured, or a merge module does
    not load.
    """

    def __init__(self, config: EdgeConfig) -> None:
        self.config = config
        self._clock = SystemClock()
        self.tick_soon = False  # the node has its turn soon, as `poke` wants it
        self._timer: asyncio.TimerHandle | None = None
        self._health_timer: asyncio.TimerHandle | None = None
        self._running = False

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Of what there is only from the start on."""
            raise AttributeError(f"Agent has no {name}, or was not started: await agent.start(), or async with Agent(config) as agent")

    # Life.

    async def start(self) -> None:
        """Recover the logs, begin connecting. Does not wait for any broker."""
        if self._running:
            raise UsageError("the agent runs already")
        loop = self._loop = asyncio.get_running_loop()
        config = self.config
        merges = load_merges(config)
        self._read_limits()
        self._storage = PosixStorage(config.data_dir, self._synced, loop, files_max=self._files_max())
        try:
            self.node = Node(config, self._clock, self._storage, SystemEntropy(), codecs(config.sync.compression), merges, ProcessMeter())
            self._waiters = Waiters(loop)
            producer = self.producer = Producer(self, self._waiters)
            self.produce, self.produce_many, self.delete = producer.produce, producer.produce_many, producer.delete
            self.produce_nowait, self.room = producer.produce_nowait, producer.room
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
        self._leftovers = leftovers.find(self._storage, [stream.folder for stream in self.node.partitions.every_log()])
        for problem in leftovers.problems(self._leftovers):
            log.warning("%s", problem)
        self.health = Health(self._clock.monotonic_ms())
        self._acknowledged = Acknowledged(config.data_dir)
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
            stream.durable < stream.written and stream.failure is None for stream in self.node.partitions.every_log()
        ):
            await asyncio.wait((self._waiters.room(),), timeout=0.1)

    async def stop(self) -> None:
        """Disconnect, make all that was accepted durable (within 10 s), and let go of the data directory."""
        if not self._running:
            return
        await asyncio.gather(*[line.stop() for line in self.lines])
        if self.uplink is not None:
            await self.uplink.stop()
            self.node.link.down("the agent stops")
        self.node.close()
        deadline = self._loop.time() + CLOSE_SECS_MAX
        while not self.node.idle and self._loop.time() < deadline:
            self._tick()
            await asyncio.sleep(0.002)
        if not self.node.idle:
            log.warning("storage did not finish within %d s; what was not durable may be lost", CLOSE_SECS_MAX)
        self._running = False
        self.producer.close()
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

    # Looking and steering.

    def status(self) -> dict[str, Any]:
        """What the node knows of itself, the link and the process. JSON-able."""
        status: dict[str, Any] = self.node.status()
        status["link"] = self.uplink.status() if self.uplink is not None else None
        status["serial"] = [line.status() for line in self.lines]
        status["data_dir"], status["pid"], status["version"] = self.config.data_dir, os.getpid(), VERSION
        failed = [(stream.folder, stream.failure) for stream in self.node.partitions.every_log() if stream.failure is not None]
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

    def acknowledge(self) -> int:
        """Health tells no more of what is lost by now. Returns how many records those are, of which it told before. Raises OSError."""
        return self._acknowledged.take(self.ledger())

    def _look(self) -> None:
        node = self.node
        problems = limit_problems(node) + [line.problem for line in self.lines if line.problem]
        if self._leftovers:
            self._leftovers = [it for it in self._leftovers if self._storage.list(it.folder)]
            problems += leftovers.problems(self._leftovers)
        told = self._acknowledged.beside(self.ledger())
        self.health.observe(self._clock.monotonic_ms(), self.status(), told, problems, waits(node))

    def sync_now(self) -> None:
        self.node.link.sync_now()
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

    # The shell.

    def poke(self) -> None:
        """Let the node have its turn soon."""
        if not self.tick_soon and self._running:
            self.tick_soon = True
            self._loop.call_soon(self._tick)

    def _synced(self, ticket: int, error: Exception | None) -> None:
        self.node.synced(ticket, error)
        if error is not None:
            log.error("storage: %s", error)
        self._waiters.synced()
        self.poke()

    def _tick(self) -> None:
        self.tick_soon = False
        deadline_ms = self.node.tick()
        if self.uplink is not None and self.uplink.pump():
            self.poke()
        self._waiters.acked(self.node.queue.has_room)
        self._waiters.ticked()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline_ms is not None and deadline_ms >= 0 and not self.tick_soon and self._running:
            delay_ms = max(0, deadline_ms - self._clock.monotonic_ms())
            self._timer = self._loop.call_later(delay_ms / 1000, self.poke)

    def _watch_health(self) -> None:
        self._look()
        self._health_timer = self._loop.call_later(HEALTH_SECS, self._watch_health)
