"""Small inputs that want to be expensive: nested, promised, repeated, compressed. Each is over within its time.

Rule: an input has the size that a frame, a file or a message may have, and the bound beside it is far above what honest work of that size
takes, and far below what would be noticed as standing still. Must not know: which of them were ever a problem.
"""

import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import zstandard

from fuzz import packing
from fuzz.fields import Script

FRAME_BYTES = 65536
HOLES = 8000  # of a segment of half a megabyte
HEADER_BYTES_CBOR = 9


class Bomb(NamedTuple):
    """target: whose input it is; make: gives it; secs_max: of one run, on a slow machine; promises: it is memory that it wants."""

    name: str
    target: str
    make: Callable[[], bytes]
    secs_max: float = 3.0
    promises: bool = False


def _text(text: str) -> bytes:
    """Text in CBOR, with a length of 16 bits."""
    data = text.encode()
    return b"\x79" + struct.pack(">H", len(data)) + data


def _deep(head: bytes) -> Callable[[], bytes]:
    return lambda: head * ((FRAME_BYTES - HEADER_BYTES_CBOR) // len(head)) + b"\0"


def _regexes() -> bytes:
    """Tag 35 with classes whose case folding costs some ms each, if somebody compiles them."""
    return b"\xd8\x23" + _text("(?i)" + "[\0-\U0010fffe]" * 2000)


def _deflated(raw_bytes: int) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -12)
    return bytes(Script().byte(128).number((1 << 20) - 1).raw(stream.compress(bytes(raw_bytes)) + stream.flush()))


def _zstd(raw_bytes: int, says: bool) -> bytes:
    data = zstandard.ZstdCompressor(level=3, write_content_size=says).compress(bytes(raw_bytes))
    return bytes(Script().byte(128).number((1 << 20) - 1).raw(data))


def _window() -> bytes:
    """A zstd frame (RFC 8878, section 3.1.1) of 1 MB - 1, as it says, whose window would have almost 4 TB."""
    return bytes(Script().byte(128).number((1 << 20) - 1).raw(bytes.fromhex("28b52ffd80ffffff0f00") + b"\x09\0\0a"))


def _headers_without_bodies() -> bytes:
    """A segment of headers that each promise the longest body there is."""
    batches = [packing.batch(b"", 1, 1, 1, i, length=65408) for i in range(FRAME_BYTES // packing.HEADER_BYTES)]
    return b"".join(batches)


def _holes() -> bytes:
    """A segment in which every other offset is missing."""
    return b"".join(packing.batch(b"", 0, 0, 1, 2 * i) for i in range(HOLES))


def _laughs() -> bytes:
    """Aliases of aliases."""
    lines = ["a0: &a0 [" + ", ".join("x" * 9) + "]"]
    lines += ["a%d: &a%d [%s]" % (i, i, ", ".join(["*a%d" % (i - 1)] * 9)) for i in range(1, 12)]
    return "\n".join(lines).encode()


def _header_of(text: bytes) -> bytes:
    """A control message whose header is this."""
    return struct.pack(">II", len(text), 0) + text


BOMBS = (
    Bomb("arrays in arrays", "cbor", _deep(b"\x81")),
    Bomb("maps in maps", "cbor", _deep(b"\xa1\x00")),
    Bomb("tags in tags", "cbor", _deep(b"\xd8\x25")),
    Bomb("endless arrays", "cbor", _deep(b"\x9f")),
    Bomb("an array that promises 2^64 items", "cbor", lambda: b"\x9b" + b"\xff" * 8, promises=True),
    Bomb("text that promises 2^63 bytes", "cbor", lambda: b"\x7b\x7f" + b"\xff" * 7, promises=True),
    Bomb("a number of 64 KB", "cbor", lambda: b"\xc2\x59\xff\x00" + b"\xff" * 0xFF00, promises=True),
    Bomb("a power of 2^63", "cbor", lambda: bytes.fromhex("c5821b7fffffffffffffff01")),
    Bomb("regular expressions", "cbor", _regexes),
    Bomb("deflate of 64 MB", "codec", lambda: _deflated(64 << 20), promises=True),
    Bomb("zstd of 256 MB", "codec", lambda: _zstd(256 << 20, True), promises=True),
    Bomb("zstd of 64 MB without a size", "codec", lambda: _zstd(64 << 20, False), promises=True),
    Bomb("zstd with a window of 4 TB", "codec", _window, promises=True),
    Bomb("headers that promise 64 KB", "segment", _headers_without_bodies, 10.0),
    Bomb("every other offset is missing", "segment", _holes, 5.0),
    Bomb("magic and nothing else", "segment", lambda: b"\x5e\xb1" * FRAME_BYTES),
    Bomb("aliases of aliases", "yaml", _laughs, 5.0, True),
    Bomb("lists in lists", "yaml", lambda: b"[" * 20000, 5.0),
    Bomb("a user that nobody is", "yaml", lambda: b"node_id: n\ndata_dir: ~nobody-is-called-so/x"),
    Bomb("a number of 5000 digits", "yaml", lambda: b"node_id: " + b"1" * 5000),
    Bomb("a hexadecimal number of 100 KB", "yaml", lambda: b"node_id: n\nsync: 0x" + b"f" * 100000),
    Bomb("a number in base 60", "yaml", lambda: b"node_id: 1" + b":1" * 200000),
    Bomb("a fraction in base 60", "yaml", lambda: b"node_id: n\nlocation: {lat: 1" + b":1" * 500 + b".0, lon: 1}"),
    Bomb("unknown keys", "yaml", lambda: b"".join(b"%s%d: 1\n" % (b"q" * 60, i) for i in range(3000))),
    Bomb("lists in lists", "control", lambda: _header_of(b'{"op": ' + b"[" * 100000)),
    Bomb("lists in the id", "control", lambda: _header_of(b'{"op": "topics", "id": ' + b"[" * 1000 + b"]" * 1000 + b"}")),
    Bomb("a number of 100 KB", "control", lambda: _header_of(b'{"op": "topics", "id": ' + b"9" * 100000 + b"}")),
    Bomb("a message that promises 4 GB", "control", lambda: b"\0\0\0\2\xff\xff\xff\xff{}", promises=True),
)
