"""The control socket of a bridge: a door for the command line and for applications in other processes.

Rule: the socket is for its user alone (mode 600). Requests of one connection are accepted in order; each is answered when what it wrote is
committed, so that many may be under way. A broken message ends its connection and nothing else. Must not know: frames, the store.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from streamline_core.errors import ProtocolError, StorageFull, StreamlineError, UsageError
from streamline_core.topic import TopicDefinition

from . import control_wire
from .control_wire import Message, to_bytes
from .publisher import Headers, Produced, Publisher

CONNECTIONS_MAX = 32
IN_FLIGHT_MAX = 256  # requests of one connection that wait for the store
HEADERS_MAX = 64
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (UsageError, "usage"),
    (StorageFull, "storage_full"),
    (ProtocolError, "protocol"),
    (StreamlineError, "other"),
    (OSError, "other"),
)


class ControlServer:
    """store: its file, beside which the socket lies. Raises UsageError where that path is too long."""

    def __init__(self, store: Path, publisher: Publisher) -> None:
        self._path = control_wire.socket_path(store)
        self._publisher = publisher
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. The bridge holds the store, so a socket that is there already is a dead one's. Raises UsageError."""
        listener = socket.socket(socket.AF_UNIX)
        try:
            Path(self._path).unlink(missing_ok=True)
            listener.bind(self._path)
            os.chmod(self._path, 0o600)  # before anybody can connect
            self._server = await asyncio.start_unix_server(self._connected, sock=listener, limit=control_wire.LINE_BYTES_MAX)
        except OSError as error:
            listener.close()
            raise UsageError("control socket %s: %s" % (self._path, error.strerror or error))

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        Path(self._path).unlink(missing_ok=True)
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.write(control_wire.pack({"id": 0, "error": "%d connections are open" % CONNECTIONS_MAX, "kind": "full"}))
            writer.close()
            return
        self._connections.add(task)
        connection = _Connection(self._publisher, writer)
        try:
            while line := await reader.readline():
                await connection.serve(control_wire.unpack(line))
                await writer.drain()
            await connection.settled()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the other side went away, or the bridge stops: what was accepted is committed all the same
        except (ProtocolError, ValueError) as error:  # ValueError: a line longer than its bound
            connection.error(0, error if isinstance(error, ProtocolError) else ProtocolError("control message: its line is too long"))
        finally:
            self._connections.discard(task)
            writer.close()


class _Connection:
    def __init__(self, publisher: Publisher, writer: asyncio.StreamWriter) -> None:
        self.publisher = publisher
        self._writer = writer
        self._free = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def serve(self, message: Message) -> None:
        op = OPS.get(str(message.get("op")))
        await self._free.acquire()
        try:
            if op is None:
                raise UsageError("unknown operation %r; known are %s" % (message.get("op"), ", ".join(sorted(OPS))))
            future = await op(self, message)
        except Exception as error:  # whatever a request does, it must not end the bridge, and must be answered
            self._free.release()
            self.error(message.get("id"), error)
            return
        future.add_done_callback(lambda done: self._answer(message.get("id"), done))

    async def settled(self) -> None:
        """Until all is answered: the other side asks nothing more, and may still listen."""
        for _ in range(IN_FLIGHT_MAX):
            await self._free.acquire()

    def _answer(self, id: object, done: "asyncio.Future[Produced] | asyncio.Future[None]") -> None:
        self._free.release()
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            self.error(id, error)
            return
        produced = done.result()
        self._write({"id": id, "ok": True, **(vars(produced) if produced is not None else {})})

    def error(self, id: object, error: BaseException) -> None:
        kind = next((kind for type_, kind in _KINDS if isinstance(error, type_)), "internal")
        text = str(error) if kind != "internal" else "%s: %s" % (type(error).__name__, error)
        self._write({"id": id, "error": text, "kind": kind})

    def _write(self, message: Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(control_wire.pack(message))

    # Operations: each returns the future that answers it.

    async def produce(self, message: Message) -> "asyncio.Future[Produced]":
        key = to_bytes("key", message["key"]) if message.get("key") is not None else None
        timestamp_ms = message.get("timestamp")
        if timestamp_ms is not None and type(timestamp_ms) is not int:
            raise UsageError("timestamp: milliseconds since 1970 are wanted, not %.100r" % timestamp_ms)
        value = to_bytes("value", message.get("value"))
        return await self.publisher.accept(_text(message, "topic"), value, key, _headers(message.get("headers")), timestamp_ms)

    async def delete(self, message: Message) -> "asyncio.Future[Produced]":
        return await self.publisher.accept(_text(message, "topic"), None, to_bytes("key", message.get("key")))

    async def define(self, message: Message) -> "asyncio.Future[None]":
        partitions = message.get("partitions")
        if type(partitions) is not int:
            raise UsageError("partitions: a whole number is wanted, not %.100r" % (partitions,))
        try:
            merge_hash = bytes.fromhex(_text(message, "merge_hash"))
        except ValueError:
            raise UsageError("merge_hash: hex digits are wanted")
        kind, direction, strategy = _text(message, "kind"), _text(message, "direction"), _text(message, "strategy")
        definition = TopicDefinition(kind, direction, partitions, strategy, merge_hash, _text(message, "feed_filter"))
        return self.publisher.define(_text(message, "topic"), definition)


OPS: dict[str, Callable[[_Connection, Message], Awaitable["asyncio.Future[Produced] | asyncio.Future[None]"]]] = {
    "produce": _Connection.produce,
    "delete": _Connection.delete,
    "define": _Connection.define,
}


def _text(message: Message, name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise UsageError("%s: text is wanted, not %.100r" % (name, value))
    return value


def _headers(given: object) -> Headers:
    if given is None:
        return ()
    if not isinstance(given, dict) or len(given) > HEADERS_MAX:
        raise UsageError("headers: an object of at most %d names is wanted" % HEADERS_MAX)
    return [(name, to_bytes("header %s" % name, content)) for name, content in given.items()]
