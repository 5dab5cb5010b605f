"""The other side of the control socket, as the command line uses it: the same verbs as a Publisher.

Rule: many requests may be under way; each is answered, or fails when the bridge goes away. A bridge that is not there is NoBridge.
Must not know: what the commands print.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from streamline_core.errors import ProtocolError, StorageFull, StreamlineError, UsageError
from streamline_core.topic import TopicDefinition

from . import control_wire
from .control_wire import Message, text_or_base64
from .publisher import Headers, Produced, heard

T = TypeVar("T")
CONNECT_SECS_MAX = 5.0
_KINDS = {"usage": UsageError, "storage_full": StorageFull, "protocol": ProtocolError}


class NoBridge(StreamlineError):
    """Nobody answers at the socket, or the bridge went away."""


class ControlClient:
    """A connection to the bridge of a store: `open` it, and `close` it. Raises UsageError where the socket's path is too long."""

    def __init__(self, store: Path) -> None:
        self._path = control_wire.socket_path(store)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._id = 0

    async def open(self) -> None:
        """Raises NoBridge."""
        try:
            opening = asyncio.open_unix_connection(self._path, limit=control_wire.LINE_BYTES_MAX)
            self._reader, self._writer = await asyncio.wait_for(opening, CONNECT_SECS_MAX)
        except (OSError, TimeoutError) as error:
            raise NoBridge("no bridge answers at %s: %s" % (self._path, error))
        self._task = asyncio.create_task(self._read())

    async def close(self) -> None:
        self._task.cancel()
        self._writer.close()
        await asyncio.gather(self._task, return_exceptions=True)

    def define(self, topic: str, definition: TopicDefinition) -> "asyncio.Future[None]":
        message = {name: getattr(definition, name) for name in ("kind", "direction", "partitions", "strategy", "feed_filter")}
        message.update(op="define", topic=topic, merge_hash=definition.merge_hash.hex())
        return _task(self._defined(message))

    async def _defined(self, message: Message) -> None:
        await self._request(message)

    async def accept(
        self, topic: str, value: bytes | None, key: bytes | None = None, headers: Headers = (), timestamp_ms: int | None = None
    ) -> "asyncio.Future[Produced]":
        """Ask for a record to be written, or (value None) a key to be deleted; the future is answered when it is committed."""
        message: Message = {"op": "delete" if value is None else "produce", "topic": topic}
        if value is not None:
            message["value"] = text_or_base64(value)
        if key is not None:
            message["key"] = text_or_base64(key)
        if headers:
            message["headers"] = {name: text_or_base64(content) for name, content in headers}
        if timestamp_ms is not None:
            message["timestamp"] = timestamp_ms
        sent = self._request(message)
        try:
            await self._writer.drain()
        except ConnectionError:
            pass  # the reader says so
        return _task(_produced(sent))

    def _request(self, message: Message) -> "asyncio.Future[Message]":
        self._id += 1
        message["id"] = self._id
        line = control_wire.pack(message)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        future.add_done_callback(heard)
        if self._task.done():
            raise NoBridge("the bridge went away; what was not confirmed may or may not be committed")
        self._waiting[self._id] = future
        self._writer.write(line)
        return future

    async def _read(self) -> None:
        error: StreamlineError = NoBridge("the bridge went away; what was not confirmed may or may not be committed")
        try:
            while line := await self._reader.readline():
                message = control_wire.unpack(line)
                future = self._waiting.pop(message.get("id", 0), None)
                if "error" in message:
                    problem = _KINDS.get(str(message.get("kind")), StreamlineError)(str(message["error"]))
                    if future is None:
                        error = problem  # of no request: the connection ends
                        return
                    future.set_exception(problem)
                elif future is not None:
                    future.set_result(message)
        except (ConnectionError, ValueError):
            pass
        except ProtocolError as problem:
            error = problem
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(error)


def _task(work: "Coroutine[Any, Any, T]") -> "asyncio.Future[T]":
    task = asyncio.ensure_future(work)
    task.add_done_callback(heard)
    return task


async def _produced(sent: "asyncio.Future[Message]") -> Produced:
    answer = await sent
    return Produced(*[answer[name] for name in ("topic", "partition", "cloud_offset", "epoch", "offset")])
