"""Who waits for what: producers for the disk or the cloud, or for room; readers for more; watchers for the node's next turn.

Rule: everyone who waits is answered, with the offset or with an error; cancelling one waiter touches no other. Offsets
of one log rise, so each log has a queue in the order of answers. Knows logs only by their marks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from streamline_core.errors import StorageFull, StreamlineError

if TYPE_CHECKING:
    from streamline_core.log import Log

    Future = asyncio.Future[int]
    Entry = tuple[int, Future, int]  # end offset, who waits, first offset


class RecordLost(StreamlineError):
    """A record was lost before the cloud had it. `cause`: a word of the ledger, such as "evicted"."""

    def __init__(self, topic: str, offset: int, cause: str) -> None:
        super().__init__(f"record {offset} of {topic} was lost before the cloud had it: {cause}")
        self.cause = cause


class _Queue:
    """The waiters of one log, and the term they wait in: a new term means that the log was reopened beneath them."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.term = log.term
        self.entries: deque[Entry] = deque()
        self.gaps: object = None  # the gaps that were looked at; the log makes a new list when they change


class Waiters:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._durable: dict[Log, _Queue] = {}
        self._cloud: dict[Log, _Queue] = {}
        self._room: list[asyncio.Future[None]] = []
        self._more: list[asyncio.Future[None]] = []
        self._tick: list[asyncio.Future[None]] = []
        self._backlog: list[asyncio.Future[None]] = []

    def durable(self, log: Log, first: int, end: int) -> Future:
        """Answered with `first` (where it lies then) once everything below `end` is on the disk; StorageFull if it
        never will be."""
        queue = self._durable.get(log)
        if queue is None:
            queue = self._durable[log] = _Queue(log)
        future: Future = self._loop.create_future()
        if end <= log.durable:
            future.set_result(first)
        else:
            queue.entries.append((end, future, first))
        return future

    def cloud(self, log: Log, first: int, end: int) -> Future:
        """Answered with `first` once the cloud has committed everything below `end`; RecordLost if one in [first,
        end) was lost."""
        queue = self._cloud.get(log)
        if queue is None:
            queue = self._cloud[log] = _Queue(log)
        future: Future = self._loop.create_future()
        if end <= log.acked:
            future.set_result(first)
        else:
            queue.entries.append((end, future, first))
        return future

    def room(self) -> asyncio.Future[None]:
        """Answered when something became durable."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._room.append(future)
        return future

    def backlog(self) -> asyncio.Future[None]:
        """Answered when more may be owed to the cloud."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._backlog.append(future)
        return future

    def more(self) -> asyncio.Future[None]:
        """Answered when there may be more to read."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._more.append(future)
        return future

    def tick(self) -> asyncio.Future[None]:
        """Answered when the node has had its turn."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._tick.append(future)
        return future

    def ticked(self) -> None:
        """The node has had its turn."""
        _wake(self._tick)

    def synced(self) -> None:
        """Something became durable, or failed to."""
        _wake(self._room)
        _wake(self._more)
        for queue in list(self._durable.values()):
            self._answer_durable(queue)

    def acked(self, queue_has_room: bool) -> None:
        """The cloud may have said something."""
        if queue_has_room:
            _wake(self._backlog)
        for queue in list(self._cloud.values()):
            self._answer_cloud(queue)

    def close(self) -> None:
        """Nothing will be answered any more."""
        for queue in [*self._durable.values(), *self._cloud.values()]:
            _fail(queue.entries, StreamlineError("the agent was stopped"))
        self._durable.clear()
        self._cloud.clear()
        _wake(self._room)
        _wake(self._more)
        _wake(self._tick)
        _wake(self._backlog)

    def _answer_durable(self, queue: _Queue) -> None:
        log, entries = queue.log, queue.entries
        mark = log.durable
        while entries and entries[0][0] <= mark:
            _, future, first = entries.popleft()
            if not future.done():
                future.set_result(first)
        if entries and log.successor is not None:
            self._move(queue, self._durable)
        elif entries and (log.failure is not None or log.term != queue.term):
            why = log.failure or "it was reopened"
            _fail(entries, StorageFull(f"{log.folder}: not stored: {why}; produce it again"))
        if not entries:
            del self._durable[log]

    def _answer_cloud(self, queue: _Queue) -> None:
        log, entries = queue.log, queue.entries
        if log.state.gaps.rows is not queue.gaps:
            # Looked at when they appear: once the cloud has accounted for a gap, the log may forget it.
            queue.gaps = log.state.gaps.rows
            _fail_lost(queue)
            entries = queue.entries
        mark = log.acked
        while entries and entries[0][0] <= mark:
            _, future, first = entries.popleft()
            if not future.done():
                future.set_result(first)
        if entries and log.successor is not None:
            self._move(queue, self._cloud)
        elif entries and log.failure is None and log.term != queue.term:
            # Reopened beneath them: those that had become durable are there, the others are gone.
            gone = deque(entry for entry in entries if entry[0] > log.written)
            _fail(gone, StorageFull(f"{log.folder}: not stored: it was reopened; produce it again"))
            queue.term = log.term
        if not entries:
            del self._cloud[log]

    def _move(self, queue: _Queue, queues: dict[Log, _Queue]) -> None:
        """A fork has sealed the log: what lay beyond the seal lies in another one now."""
        stay: deque[Entry] = deque()
        for end, future, first in queue.entries:
            last = queue.log.moved(end - 1)
            if last is None:
                stay.append((end, future, first))
                continue
            log, offset = last
            target = queues.setdefault(log, _Queue(log))
            target.entries.append((offset + 1, future, max(0, offset + 1 - (end - first))))
        queue.entries.clear()
        queue.entries.extend(stay)


def _fail_lost(queue: _Queue) -> None:
    stay: deque[Entry] = deque()
    rows = queue.log.state.gaps.rows
    for end, future, first in queue.entries:
        row = next((row for row in rows if row[0] < end and row[1] > first), None)
        if row is None:
            stay.append((end, future, first))
        else:
            _fail(deque([(end, future, first)]), RecordLost(queue.log.stream.topic, max(first, row[0]), row[2]))
    queue.entries = stay


def _fail(entries: deque[Entry], error: Exception) -> None:
    for _, future, _ in entries:
        if not future.done():
            future.set_exception(error)
            # Whoever asked may have gone away; an error that nobody fetches is not worth a line on the terminal.
            future.exception()
    entries.clear()


def _wake(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
    futures.clear()
