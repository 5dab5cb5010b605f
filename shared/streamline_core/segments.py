"""The segments of one stream's log: the names of their files, the ring they form, and how to walk one in constant memory.

Rule: a segment is whole batches one after another and nothing else; a torn tail stays where it is, and the next segment's name says where
it ends. Only one that this opening began is written to. A walk never trusts a length before the header's CRC has vouched for it. Must not
know: what is durable or owed; the log decides what goes.
"""

import binascii

from .batch import HEADER_BYTES, MAGIC_BYTES, OFFSET_MAX, parse_header
from .errors import NOT_STORED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .batch import Header
    from .log_limits import LogLimits
    from .ports import Buffer, Storage

_SUFFIX = ".seg"
_COMPACTED = ".cmp"


def segment_name(folder: str, base: int, compacted: bool = False) -> str:
    """`<folder>/<base offset, 20 digits>.seg`, and .cmp where it was written anew."""
    return "%s/%020d%s" % (folder, base, _COMPACTED if compacted else _SUFFIX)


def list_segments(storage: "Storage", folder: str, compacted: bool = False) -> "list[int]":
    """The base offsets of the segments in a folder, rising: of those as they were written, or of those that were written anew."""
    bases, suffix = [], _COMPACTED if compacted else _SUFFIX
    for name in storage.list(folder):
        if name.endswith(suffix) and len(name) == 24 and all([c in "0123456789" for c in name[:20]]):  # isdigit takes "²"
            base = int(name[:20])
            if base <= OFFSET_MAX:
                bases.append(base)
    bases.sort()
    return bases


class SegmentRing:
    """bases, sizes: the first offset and the bytes of each segment, oldest first. compacted: bases of those that were written anew.
    total_bytes: of all of them. exchanges: how often one was written anew: what is known of the bytes of one may be wrong then.
    head: the file of the last one while it is written to, else empty: what comes next goes into a new one. removals: (version of the log's
    state to wait for, file, its bytes)."""

    def __init__(self, storage: "Storage", folder: str, limits: "LogLimits") -> None:
        self._storage = storage
        self._folder = folder
        self._limits = limits
        self.exchanges = 0
        self.removals: "list[tuple[int, str, int]]" = []
        self.hold([], set())

    def hold(self, bases: "list[int]", compacted: "set[int]") -> None:
        """These are what there is, rising, and none of them is written to. Raises OSError."""
        self.bases, self.compacted = bases, compacted
        self.sizes = [max(0, self._storage.size(self.name_of(base))) for base in bases]
        self.total_bytes = sum(self.sizes)
        self.head = ""

    def name_of(self, base: int) -> str:
        """The file of a segment."""
        return segment_name(self._folder, base, base in self.compacted)

    def index_of(self, offset: int) -> int:
        """The index of the segment that holds `offset`, if any does."""
        low, high = 0, len(self.bases)
        while high - low > 1:
            middle = (low + high) // 2
            if self.bases[middle] <= offset:
                low = middle
            else:
                high = middle
        return low

    def takes(self, size: int, offset: int) -> bool:
        """Whether a batch of `size` bytes, from `offset` on, still goes into the head."""
        limits = self._limits
        if not self.head or self.sizes[-1] + size > limits.segment_bytes:
            return False
        return not limits.segment_records or offset - self.bases[-1] < limits.segment_records

    def open_head(self, base: int) -> None:
        """What is written next goes into a new segment. Raises MemoryError: nothing has changed then."""
        name = segment_name(self._folder, base)
        self.sizes.append(0)
        try:
            self.bases.append(base)
        except MemoryError:
            self.sizes.pop()
            raise
        self.head = name

    def close_head(self) -> None:
        """What is written next goes into another segment."""
        self.head = ""

    def append(self, head: "Buffer", body: "Buffer") -> None:
        """Write a batch at the end of the head. Raises StorageFull, OSError, MemoryError: how much of it is there nobody knows then."""
        self._storage.append(self.head, head)
        self._storage.append(self.head, body)
        size = len(head) + len(body)
        self.sizes[-1] += size
        self.total_bytes += size

    def head_unchanged(self) -> bool:
        """Whether the storage has no more of the head than before what could not be appended."""
        try:
            return max(0, self._storage.size(self.head)) == self.sizes[-1]
        except NOT_STORED:
            return False

    def exchange(self, base: int, size: int) -> int:
        """A segment was written anew, in `size` bytes, durably: it takes the place of what was there. Returns how many bytes that saves."""
        i = self.bases.index(base)
        saved, old = self.sizes[i] - size, self.name_of(base)
        self.compacted.add(base)
        self.sizes[i] = size
        self.total_bytes -= saved
        self.exchanges += 1
        self._storage.remove(old)
        return saved

    def forget_oldest(self) -> "tuple[int, int, str]":
        """Take the oldest out of the ring; returns its base, its bytes and its file, which is for the caller to remove."""
        base, size = self.bases[0], self.sizes[0]
        oldest = base, size, self.name_of(base)  # first: afterwards there may be no memory for it
        del self.bases[0], self.sizes[0]
        self.total_bytes -= size
        self.compacted.discard(base)
        return oldest

    def drop_from(self, offset: int) -> None:
        """Remove the segments that begin at `offset` or after it."""
        while self.bases and self.bases[-1] >= offset:
            self.total_bytes -= self.sizes.pop()
            self._storage.remove(self.name_of(self.bases.pop()))

    @property
    def removing_bytes(self) -> int:
        """Given back, and still there until it is noted."""
        return sum([size for _, _, size in self.removals])

    def remove_noted(self, durable_version: int) -> None:
        """The log's state is durable up to this version: files that waited for it go. Raises OSError: what is left goes the next time."""
        while self.removals and self.removals[0][0] <= durable_version:
            self._storage.remove(self.removals[0][1])
            self.removals.pop(0)


# What one holds


def find_header(storage: "Storage", name: str, at: int, size: int, offset: int, within: bool = False) -> "tuple[int, Header] | None":
    """The first valid header at or after byte `at` whose base is `offset` or above (or, if `within`, whose batch holds `offset` in
    its middle), as
    (byte, header): how reading goes on after bytes that make no sense. Constant memory, linear in what it passes over."""
    buf = bytearray(1024)
    while at + HEADER_BYTES <= size:
        n = storage.read_into(name, at, buf)
        if n < HEADER_BYTES:
            return None
        i = buf.find(MAGIC_BYTES, 0, n)
        while 0 <= i <= n - HEADER_BYTES:
            header = parse_header(buf, i)
            if header is not None and (header.base >= offset or (within and header.next > offset)):
                return at + i, header
            i = buf.find(MAGIC_BYTES, i + 1, n)
        at += n - HEADER_BYTES + 1
    return None


def header_after(storage: "Storage", name: str, at: int, header: "Header", size: int) -> "tuple[int, Header] | None":
    """The header after the batch at byte `at`, whose header is valid and whose body is not: where its length says, or
    (a torn write may have left it short) wherever the next one is. The body itself is looked into last: a value may
    hold bytes that look like a header."""
    buf = bytearray(HEADER_BYTES)
    n = storage.read_into(name, at + header.length, buf)
    after = parse_header(memoryview(buf)[:n])
    if after is not None and after.base >= header.next:
        return at + header.length, after
    return find_header(storage, name, at + 1, size, header.next)


def body_checks(storage: "Storage", name: str, at: int, header: "Header", buf: bytearray) -> bool:
    """Whether the body of the batch at byte `at` is all there and has its CRC; read through `buf`, whatever its size."""
    crc, at, left = 0, at + HEADER_BYTES, header.length - HEADER_BYTES
    view = memoryview(buf)
    while left > 0:
        n = storage.read_into(name, at, view[: min(left, len(buf))])
        if n <= 0:
            return False
        crc = binascii.crc32(view[:n], crc)
        at += n
        left -= n
    return crc == header.body_crc


def walk(
    storage: "Storage", name: str, offset: int, buf: bytearray, headers_only: bool = False
) -> "Iterator[tuple[Header, int, bool]]":
    """All that can be read of a segment that should begin at `offset`: (header, byte, whole) for each batch whose header is
    valid, `whole` telling whether its body is (headers_only: whether it is long enough). `buf`: 64 bytes or more, any size."""
    size = storage.size(name)
    at = 0
    while at < size:
        view = memoryview(buf)
        n = storage.read_into(name, at, view[:HEADER_BYTES])
        header = parse_header(view[:n])
        if header is None or header.base < offset:
            found = find_header(storage, name, at + 1, size, offset)
            if found is None:
                return
            at, header = found
        whole = at + header.length <= size and (headers_only or body_checks(storage, name, at, header, buf))
        yield header, at, whole
        offset = header.next
        if whole:
            at += header.length
            continue
        found = header_after(storage, name, at, header, size)
        if found is None:
            return
        at = found[0]
