"""The files of one stream's log: their names, their order, and how to walk one in constant memory.

Rule: a segment is whole batches one after another and nothing else; a torn tail stays where it is, and the next segment's
name says where it ends. A walk never trusts a length before the header's CRC has vouched for it.
"""

import binascii

from .batch import HEADER_BYTES, MAGIC_BYTES, OFFSET_MAX, parse_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .batch import Header
    from .ports import Storage

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
