"""`streamline-cloud produce`, `delete` and `define`: through the bridge that runs, or, where none does, straight into the store.

Rule: 0 means committed. Whoever holds the store writes it: the bridge, asked through its control socket, or this process for a moment.
Must not know: frames, SQL.
"""

import argparse
import asyncio
import json
import os
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from streamline_core.errors import StreamlineError, UsageError
from streamline_core.topic import TopicDefinition
from streamline_host.merge_module import load_merge

from .control_client import ControlClient, NoBridge
from .lone_hub import LoneHub
from .publisher import Produced, Publisher
from .store_schema import check_there, path_of
from .store_sqlite import StoreBusy

OPEN_SECS_MAX = 10.0  # while another command, or a bridge that begins or ends, holds the store
COMMIT_SECS_MAX = 30.0
IN_FLIGHT_MAX = 256
READ_BYTES = 1 << 16
LINE_BYTES_MAX = 1 << 17  # more than any record may have

Door = Publisher | ControlClient
T = TypeVar("T")


def produce(arguments: argparse.Namespace) -> int:
    """One record, or one for each line of standard input. Returns 0 when all are committed."""
    key = None if arguments.key is None else os.fsencode(arguments.key)

    async def work(door: Door) -> list[Produced]:
        if arguments.value is not None:
            future = await door.accept(arguments.topic, os.fsencode(arguments.value), key)
            return [await _committed(future)]
        return await _produce_lines(door, arguments.topic, key)

    if arguments.value is None and sys.stdin is None:
        raise UsageError("standard input is closed; give it the records, one a line, or one as VALUE")
    return _tell(arguments, asyncio.run(_at_door(_store(arguments), work)), "committed")


def delete(arguments: argparse.Namespace) -> int:
    """Write that a key is deleted. Returns 0 when that is committed."""

    async def work(door: Door) -> list[Produced]:
        return [await _committed(await door.accept(arguments.topic, None, os.fsencode(arguments.key)))]

    return _tell(arguments, asyncio.run(_at_door(_store(arguments), work)), "deletion committed")


def define(arguments: argparse.Namespace) -> int:
    """Define a topic. Returns 0 when that is committed, or the topic was defined like this already."""
    if arguments.kind == "log" and (arguments.strategy is not None or arguments.merge is not None):
        raise UsageError("--strategy and --merge are for topics of --kind keyed; in a log nothing conflicts")
    strategy = arguments.strategy or ("custom_merge" if arguments.merge is not None else "last_write_wins")
    if (strategy == "custom_merge") != (arguments.merge is not None):
        raise UsageError("--strategy custom_merge and --merge MODULE go together")
    merge_hash = load_merge(arguments.merge, os.curdir)[1] if arguments.merge is not None else b""
    wanted = (arguments.kind, arguments.direction, arguments.partitions, strategy, merge_hash, arguments.feed_filter)
    definition = TopicDefinition(*wanted)

    async def work(door: Door) -> list[Produced]:
        await _committed(door.define(arguments.topic, definition))
        return []

    asyncio.run(_at_door(path_of(arguments.store), work))
    if arguments.json:
        print(json.dumps({"topic": arguments.topic, "kind": definition.kind, "direction": definition.direction}))
    else:
        print("topic %s is defined: %s, %s" % (arguments.topic, definition.kind, definition.direction))
    return 0


def _store(arguments: argparse.Namespace) -> Path:
    """Raises UsageError where there is no store yet: a mistyped name must not make one."""
    path = path_of(arguments.store)
    check_there(path, "`streamline-cloud serve` or `define`")
    return path


async def _at_door(path: Path, work: "Callable[[Door], Awaitable[list[Produced]]]") -> list[Produced]:
    async with _open(path) as door:
        return await work(door)


@asynccontextmanager
async def _open(path: Path) -> "AsyncIterator[Door]":
    """The bridge of a store, or the store itself. Raises UsageError where somebody else holds it for long."""
    deadline = asyncio.get_running_loop().time() + OPEN_SECS_MAX
    while True:
        client = await _connected(path)
        if client is not None:
            try:
                yield client
            finally:
                await client.close()
            return
        try:
            lone = LoneHub(path)
            break
        except StoreBusy:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(0.1)
    async with lone as publisher:
        yield publisher


async def _connected(path: Path) -> ControlClient | None:
    """The bridge of a store, if one runs: where its socket could not be, none can."""
    try:
        client = ControlClient(path)
        await client.open()
        return client
    except (NoBridge, UsageError):
        return None


async def _committed(future: "Awaitable[T]") -> T:
    try:
        return await asyncio.wait_for(future, COMMIT_SECS_MAX)
    except TimeoutError:
        raise StreamlineError("not committed within %d s; it may still be" % COMMIT_SECS_MAX)


async def _produce_lines(door: Door, topic: str, key: bytes | None) -> list[Produced]:
    """Many are under way at once. The first that is refused ends it, and what was committed is said."""
    done: list[Produced] = []
    waiting: deque[asyncio.Future[Produced]] = deque()
    failed: Exception | None = None
    try:
        async for line in _lines():
            while waiting and (waiting[0].done() or len(waiting) >= IN_FLIGHT_MAX):
                done.append(await _committed(waiting.popleft()))
            waiting.append(await door.accept(topic, line, key))
    except StreamlineError as error:
        failed = error
    while waiting:
        try:
            done.append(await _committed(waiting.popleft()))
        except StreamlineError as error:
            failed = failed or error
    if failed is not None:
        text = "%s; %d records were committed" % (failed, len(done))
        raise UsageError(text) if isinstance(failed, UsageError) else StreamlineError(text)
    return done


async def _lines() -> AsyncIterator[bytes]:
    """Lines of standard input without their ends, as they come. It is read in a thread that ends with this process."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue(4)

    def read(fd: int) -> None:
        data = b"-"
        while data:
            try:
                data = os.read(fd, READ_BYTES)
            except OSError:
                data = b""
            try:
                asyncio.run_coroutine_threadsafe(pieces.put(data), loop).result()
            except RuntimeError:
                return  # the loop is gone: nobody reads any more

    threading.Thread(target=read, args=(sys.stdin.fileno(),), daemon=True).start()
    rest = b""
    while data := await pieces.get():
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > LINE_BYTES_MAX:
            raise UsageError("a line of more than %d bytes is too large for a record" % LINE_BYTES_MAX)
    if rest:
        yield rest


def _tell(arguments: argparse.Namespace, rows: list[Produced], what: str) -> int:
    parts: dict[int, list[int]] = {}
    for row in rows:
        parts.setdefault(row.partition, []).append(row.cloud_offset)
    if arguments.json:
        partitions = [
            {"partition": part, "records": len(parts[part]), "first": min(parts[part]), "last": max(parts[part])} for part in sorted(parts)
        ]
        print(json.dumps({"topic": arguments.topic, "committed": len(rows), "partitions": partitions}))
        return 0
    for part in sorted(parts):
        first, last = min(parts[part]), max(parts[part])
        where = "cloud offset %d" % first if first == last else "cloud offsets %d to %d" % (first, last)
        print("%s: %d in %s-%d, %s" % (what, len(parts[part]), arguments.topic, part, where))
    if not rows:
        print("%s: nothing was given" % what)
    return 0
