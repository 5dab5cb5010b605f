"""The control socket of an agent: a door for the command line and for applications in other processes.

Rule: the socket is for its user alone (mode 600). Requests of one connection are taken in order; answers to `produce`
come when the records are durable, so that many may be under way. A producer's records are taken without holes: after
one request of a producer was refused, the connection takes no more of it. A broken message ends its connection and
nothing else.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamline_core.answer import topics
from streamline_core.control_records import ack_of, records_of, repeats_of, row_of
from streamline_core.control_wire import kind_of
from streamline_core.errors import ProtocolError, QueueFull, UsageError
from streamline_core.resources import CONNECTIONS, FILES, MEMORY, LimitReached

from . import control_keyed, control_limits, control_wire
from .control_wire import Header, number, text

if TYPE_CHECKING:
    from streamline_core.consumer import Consumer

    from .agent import Agent

CONNECTIONS_MAX = 64
IN_FLIGHT_MAX = 64  # produce requests of one connection that wait for the disk
STREAMS_MAX = 16  # consumers of one connection
COPIES = 3  # of a body: as it was received, cut into values, and as batches
SMALL_BYTES = 65536  # a body beyond it is read only where there is memory for it


class ControlServer:
    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._path = control_wire.socket_path(agent.config.data_dir)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. The agent holds the data directory, so a socket that is there already is a dead one's."""
        Path(self._path).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._path)
        os.chmod(self._path, 0o600)  # before anybody can connect
        self._server = await asyncio.start_unix_server(self._connected, sock=listener)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            Path(self._path).unlink(missing_ok=True)
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        resources = self._agent.node.resources
        try:
            if len(self._connections) >= CONNECTIONS_MAX:
                raise LimitReached(CONNECTIONS, f"{CONNECTIONS_MAX} connections are open")
            resources.allocate(FILES, 1)
            resources.allocate(CONNECTIONS, 1)
        except LimitReached as e:
            writer.write(control_wire.pack({"id": 0, "error": str(e), "kind": "full"}))
            writer.close()
            return
        self._connections.add(task)
        connection = _Connection(self._agent, reader, writer)
        try:
            await connection.run()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the other side went away, or the agent stops: nothing is owed
        except ProtocolError as e:
            connection.answer({"id": 0, "error": str(e), "kind": "protocol"})
        except QueueFull as e:
            connection.answer({"id": 0, "error": str(e), "kind": "queue_full"})
        finally:
            self._connections.discard(task)
            resources.release(CONNECTIONS, 1)
            connection.close()
            writer.close()


class _Connection:
    def __init__(self, agent: Agent, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.agent = agent
        self._producer = agent.producer
        self._reader = reader
        self._writer = writer
        self._free = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._streams: set[asyncio.Task[None]] = set()
        self._refused: set[tuple[int, str, int]] = set()

    async def run(self) -> None:
        while True:
            prefix = await self._reader.readexactly(control_wire.PREFIX_BYTES)
            header_bytes, body_bytes = control_wire.lengths(prefix)
            header = control_wire.read_header(await self._reader.readexactly(header_bytes))
            if body_bytes > SMALL_BYTES:
                await self._serve_large(header, body_bytes)
            else:
                await self._serve(header, await self._reader.readexactly(body_bytes) if body_bytes else b"")
            await self._writer.drain()

    async def _serve_large(self, header: Header, body_bytes: int) -> None:
        """A body that is read only where there is memory for it. Raises: QueueFull."""
        needed = body_bytes * COPIES
        await self.agent.memory(needed)
        try:
            await self._serve(header, await self._reader.readexactly(body_bytes))
        finally:
            self.agent.node.resources.release(MEMORY, needed)

    async def _serve(self, header: Header, body: bytes) -> None:
        op = OPS.get(str(header.get("op")))
        try:
            if op is None:
                raise UsageError(f"unknown operation {header.get('op')!r}; known are {', '.join(sorted(OPS))}")
            answer = await op(self, header, body)
        except Exception as e:  # whatever a request does, it must not end the agent, and must be answered
            self._error(header, e)
            return
        if answer is not None:
            self.answer({"id": header.get("id"), "ok": True, **answer})

    def answer(self, header: Header, body: bytes = b"") -> None:
        if not self._writer.is_closing():
            self._writer.write(control_wire.pack(header, body))

    async def answer_piece(self, header: Header, body: bytes = b"") -> None:
        """One of several answers; returns when the other side has taken most of what it was sent."""
        self.answer({"more": True, **header}, body)
        await self._writer.drain()

    def close(self) -> None:
        for task in self._streams:
            task.cancel()

    def _error(self, header: Header, error: BaseException) -> None:
        kind = kind_of(error)
        text = str(error) if kind != "internal" else f"{type(error).__name__}: {error}"
        self.answer({"id": header.get("id"), "error": text, "kind": kind})

    # Operations: each returns what to add to the answer, or None if it answers by itself.

    async def status(self, header: Header, body: bytes) -> Header:
        return {"status": self.agent.status()}

    async def ledger(self, header: Header, body: bytes) -> Header:
        return {"ledger": self.agent.ledger()}

    async def health(self, header: Header, body: bytes) -> Header:
        return {"health": self.agent.report_health()}

    async def acknowledge(self, header: Header, body: bytes) -> Header:
        return {"acknowledged": self.agent.acknowledge(), "health": self.agent.report_health()}

    async def topics(self, header: Header, body: bytes) -> Header:
        return {"topics": topics(self.agent.node)}

    async def sync(self, header: Header, body: bytes) -> Header:
        actions = {"now": self.agent.sync_now, "pause": self.agent.pause, "resume": self.agent.resume}
        action = actions.get(str(header.get("action")))
        if action is None:
            raise UsageError("sync: the action is one of now, pause, resume")
        action()
        return {"state": self.agent.status()["state"]}

    async def producer_last(self, header: Header, body: bytes) -> Header:
        topic, producer, partition = text(header, "topic"), number(header, "producer"), number(header, "partition")
        # What is accepted becomes durable first: a producer skips what it is told here.
        await self._settled(topic, partition)
        return {"last": self.agent.node.producer_last(topic, partition, producer)}

    async def produce(self, header: Header, body: bytes) -> None:
        topic, partition = text(header, "topic"), number(header, "partition", -1)
        producer, sequence = number(header, "producer"), number(header, "sequence")
        if (producer, topic, partition) in self._refused:
            raise UsageError("an earlier request of this producer was refused; connect again and go on from there")
        await self._free.acquire()
        try:
            wait, count, repeats = await self._accept(header, body, topic, partition, producer, sequence)
        except Exception:
            self._free.release()
            if producer:
                self._refused.add((producer, topic, partition))
            raise

        def durable(done: asyncio.Future[int]) -> None:
            self._free.release()
            if done.cancelled():
                return
            error = done.exception()
            if error is None:
                first = done.result()
                self.answer({"id": header.get("id"), "ok": True, "stored": count, "repeats": repeats, "offset": first})
            else:
                self._refused.add((producer, topic, partition))
                self._error(header, error)

        wait.add_done_callback(durable)

    async def _accept(
        self, header: Header, body: bytes, topic: str, partition: int, producer: int, sequence: int
    ) -> tuple[asyncio.Future[int], int, int]:
        """Hand the records to the node.

        Returns (who is told when they have got so far, how many were new, how many repeats).
        """
        values, keys = records_of(header, body)
        ack, node, reached = ack_of(header), self.agent.node, self._producer.reached
        last = node.log(topic, max(0, partition)).producers.last(producer) if producer else -1  # accepted ones too: many are under way
        repeats = repeats_of(last, producer, partition, sequence, len(values))
        values, keys, sequence = values[repeats:], keys[repeats:] if keys else None, sequence + repeats
        if not values:
            stream = node.log(topic, max(0, partition))
            return reached(ack, stream, stream.next, stream.next), 0, repeats
        self._producer.check_ack(topic, ack)
        if keys is None:
            slices = [reached(ack, *slice) async for slice in self._producer.slices(topic, values, partition, producer, sequence)]
            return (slices[0] if len(slices) == 1 else _all(slices)), len(values), repeats
        waits: dict[Any, tuple[int, int]] = {}
        for i, (value, key) in enumerate(zip(values, keys, strict=True)):
            stream, first = await self._producer.accepted(node.produce, topic, value, key, None, None, producer, sequence + i, partition)
            waits[stream] = (waits.get(stream, (first, 0))[0], first + 1)
        futures = [reached(ack, stream, *ends) for stream, ends in waits.items()]
        return (futures[0] if len(futures) == 1 else _all(futures)), len(values), repeats

    async def _settled(self, topic: str, partition: int) -> None:
        """Until everything accepted so far is durable."""
        stream = self.agent.node.log(topic, partition)
        await self._producer.durable(stream, stream.next, stream.next)

    async def consume(self, header: Header, body: bytes) -> None:
        """Answered in pieces, beside other requests, until the durable end, or (follow) until the connection ends."""
        topic, partition = text(header, "topic"), number(header, "partition")
        follow, feed, start = header.get("follow") is True, header.get("feed") is True, number(header, "from")
        if header.get("time") is not None:
            start = self.agent.offset_at(topic, partition, number(header, "time"), feed)
        if header.get("consumer") is not None:
            reader = self.agent.node.consumers.open(text(header, "consumer"), topic, partition, feed)
        else:
            reader = self.agent.reader(topic, partition, start, feed)
        self.begin(header, self._consume(header.get("id"), reader, follow))

    async def commit(self, header: Header, body: bytes) -> Header:
        """A named consumer has done with all below `offset` of `epoch`, as a piece of `consume` gave them."""
        where = text(header, "consumer"), text(header, "topic"), number(header, "partition"), header.get("feed") is True
        self.agent.commit(*where, number(header, "epoch"), number(header, "offset"))
        return {}

    async def _consume(self, id: object, reader: Consumer, follow: bool) -> None:
        item: Any  # Record, or Gap
        async for taken in self.agent.pieces(reader, follow):
            rows = [row_of(item) for item in taken]
            parts: list[bytes] = []
            for item in taken:
                if not hasattr(item, "cause"):
                    parts += [item.value] if item.key is None else [item.key, item.value]
            await self.answer_piece({"id": id, "rows": rows, "epoch": reader.epoch, "next": reader.offset}, b"".join(parts))

    def begin(self, header: Header, stream: Coroutine[Any, Any, None]) -> None:
        """Let `stream` answer in pieces, beside other requests. Raises: UsageError where too many do."""
        if len(self._streams) >= STREAMS_MAX:
            stream.close()
            raise UsageError(f"{STREAMS_MAX} consumers run on this connection; open another one")
        task = asyncio.create_task(self._stream(header.get("id"), stream))
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    async def _stream(self, id: object, stream: Coroutine[Any, Any, None]) -> None:
        try:
            await stream
            self.answer({"id": id, "ok": True})
        except ConnectionError:
            pass
        except Exception as e:  # as in _serve
            self._error({"id": id}, e)


OPS: dict[str, Callable[[_Connection, Header, bytes], Awaitable[Header | None]]] = {
    "status": _Connection.status,
    "ledger": _Connection.ledger,
    "health": _Connection.health,
    "acknowledge": _Connection.acknowledge,
    "topics": _Connection.topics,
    "sync": _Connection.sync,
    "produce": _Connection.produce,
    "producer_last": _Connection.producer_last,
    "consume": _Connection.consume,
    "commit": _Connection.commit,
    **control_keyed.OPS,
    **control_limits.OPS,
}


async def _gather(futures: list[asyncio.Future[int]]) -> int:
    return min(await asyncio.gather(*futures))


def _all(futures: list[asyncio.Future[int]]) -> asyncio.Future[int]:
    return asyncio.ensure_future(_gather(futures))
