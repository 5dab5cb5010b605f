"""The ports: everything the core knows of the world outside.

Rule: these are the only doors. The agent, a board, the cloud bridge and the simulator differ in the
objects that stand behind them and in who carries the frames, and in nothing else.
Never imported at run time (boards pay for every module): types only.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Protocol, Sequence

    from .store_ops import FeedChunk, FeedVersion, Op, StreamState
    from .stream import StreamId

    Buffer = bytes | bytearray | memoryview

    class Clock(Protocol):
        def monotonic_ms(self) -> int:
            """Milliseconds since some start; never goes back, never wraps."""

        def wall_ms(self) -> int | None:
            """Milliseconds since 1970 UTC, or None where nobody has set the clock."""

        def zone_ms(self, wall_ms: int) -> int:
            """What local time is ahead of UTC at that time."""

    class Entropy(Protocol):
        def fill(self, buf: bytearray) -> None:
            """Overwrite `buf` with random bytes (unpredictable ones on a real node)."""

    class Meter(Protocol):
        """What this process uses. 0 where that cannot be told."""

        def cpu_ms(self) -> int:
            """Of the processor, since some start."""

        def memory_bytes(self) -> int: ...
        def open_files(self) -> int: ...

        def relieve(self) -> None:
            """Give memory back that nobody uses."""

        def buffers_bytes(self, buffer_bytes: int) -> int:
            """How much of what is accepted and not durable is in memory."""

    class Storage(Protocol):
        """Named byte strings. A name is `folder/…/file`; folders appear by themselves.

        Raises: StorageFull where there is no room, OSError for anything else that is wrong with it.
        """

        def append(self, name: str, data: Buffer) -> None:
            """Add to the end of a file. `data` may be reused by the caller once this returns."""

        def sync(self, name: str) -> int:
            """Make all appended so far durable. Returns a ticket (> 0); the shell reports its completion with
            `synced(ticket)` on the core object that owns this storage, in the order of the tickets of one name, never from within this
            call. An error of any append since the last sync is reported here too, as `synced(ticket, error)`."""

        def replace(self, name: str, data: Buffer) -> int:
            """Overwrite a small file durably; returns a ticket as `sync` does. Need not be atomic: slots alternate."""

        def read_into(self, name: str, offset: int, buf: "bytearray | memoryview") -> int:
            """Read from `offset` into `buf`, what was appended and is not synced included; returns how many bytes (0 at or past the end, or
            no such file)."""

        def size(self, name: str) -> int:
            """Bytes in the file, appended ones included; -1 where there is none."""

        def list(self, folder: str) -> "Sequence[str]":
            """Names (not paths) in a folder, files and folders, in any order; empty where there is no such folder."""

        def remove(self, name: str) -> None:
            """Remove a file, or a folder with all in it. Nothing happens where there is none."""

        def free_bytes(self) -> int:
            """Room left for the node, in bytes."""

    class Store(Protocol):
        """Where a hub keeps what arrived. Loads are small and answer at once; commits are transactions and answer later."""

        def load_topic(self, topic: str) -> "tuple[object, ...] | None":
            """The definition of a topic as `TopicDefinition.to_wire` gave it, or None."""

        def load_stream(self, stream: "StreamId") -> "StreamState | None":
            """What was last committed of a stream, or None."""

        def load_epochs(self, origin: str, topic: str, partition: int) -> "Sequence[int]":
            """Epochs known of an origin's (topic, partition)."""

        def load_node(self, node: str) -> "bytes | None":
            """The storage id under which a node was last seen, or None."""

        def load_head(self, topic: str, partition: int) -> "tuple[int, list[tuple[int, int]]]":
            """The next cloud offset, and [(term, first offset)] of all that was given out, oldest first."""

        def load_chunk(self, topic: str, partition: int, offset: int) -> "FeedChunk | None":
            """The chunk of a log topic that holds this cloud offset."""

        def load_versions(self, topic: str, partition: int, offset: int, end: int, count_max: int) -> "Sequence[FeedVersion]":
            """What stands of a keyed topic in cloud offsets [offset, end), rising, at most `count_max`."""

        def load_siblings(self, topic: str, partition: int, key: bytes) -> "Sequence[tuple[bytes, bool]]":
            """What stands of a key: (extension as of a carried version, whether it is a tombstone)."""

        def load_standing(self, topic: str, partition: int) -> "Iterable[tuple[bytes, list[tuple[str, int, int, bool]]]]":
            """Each key of a keyed topic with (origin, epoch, offset, whether it is demoted) of what stands of it."""

        def load_records(self, topic: str, partition: int, key: bytes) -> "Sequence[bytes]":
            """The records of what stands of a key, as in FeedVersion."""

        def load_tombstones(self, before_ms: int, count_max: int) -> "Sequence[tuple[str, int, bytes, tuple[str, int, int]]]":
            """(topic, partition, key, dot) of deletions that stand and arrived before that time (since 1970 UTC)."""

        def load_version(self, topic: str, partition: int, dot: "tuple[str, int, int]") -> "FeedVersion | None":
            """A version that stands."""

        def load_cursor(self, node: str, topic: str, partition: int) -> int:
            """How far a node was last known to have a feed; 0 if never."""

        def commit(self, ops: "Sequence[Op]") -> int:
            """Apply all in one transaction, in order. Returns a ticket; the shell reports its completion with
            `hub.committed(ticket)`, or `hub.committed(ticket, error)` if nothing of it was applied."""
