"""The codecs of a host: zstd by ``zstandard``, deflate by ``zlib``.

Rule: they keep the promise of the core's codec.py (exactly the promised bytes or a ProtocolError, memory bounded before
it is spent) and write what a board can read: deflate stays within the board's window.
Must not know: frames or sessions. Codec objects are for one thread at a time; each loop makes its own.
"""

import zlib
from typing import TYPE_CHECKING

import zstandard

from streamline_core.codec import DEFLATE_ID, DEFLATE_WINDOW_BITS, NONE, ZSTD_ID, Codecs
from streamline_core.errors import ProtocolError, UsageError

if TYPE_CHECKING:
    from streamline_core.codec import Buffer, Codec

ZSTD_WINDOW_BYTES_MAX = 8 << 20
"""The largest window that a frame may ask of us (RFC 8878, section 3.1.1.1.2, names 8 MB as what decoders support)."""


class ZstdCodec:
    """Zstandard (RFC 8878): one frame that states its content size."""

    name = "zstd"
    id = ZSTD_ID
    can_compress = True

    def __init__(self, level: int = 3) -> None:
        """``level`` is 1 to 22; raises UsageError outside."""
        if not 1 <= level <= zstandard.MAX_COMPRESSION_LEVEL:
            raise UsageError("zstd level %r is not within 1 to %d" % (level, zstandard.MAX_COMPRESSION_LEVEL))
        self._compressor = zstandard.ZstdCompressor(level=level, write_content_size=True, write_checksum=False)
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)

    def compress(self, data: "Buffer") -> bytes:
        """Return ``data`` as one zstd frame."""
        return self._compressor.compress(data)

    def decompress(self, data: "Buffer", raw_bytes: int) -> bytes:
        """Return the ``raw_bytes`` bytes that ``data`` holds; the caller has bounded ``raw_bytes``.

        Raises ProtocolError when ``data`` is not exactly one zstd frame whose header states that size, before anything
        of that size is allocated.
        """
        try:
            if zstandard.get_frame_parameters(data).content_size != raw_bytes:
                raise ProtocolError("zstd: wrong length")
            raw = self._decompressor.decompress(data, max_output_size=raw_bytes, allow_extra_data=False)
        except (zstandard.ZstdError, ValueError) as error:
            raise ProtocolError("zstd: %s" % error) from None
        if len(raw) != raw_bytes:
            raise ProtocolError("zstd: wrong length")
        return raw


class DeflateCodec:
    """Raw deflate (RFC 1951) within the window that boards have."""

    name = "deflate"
    id = DEFLATE_ID
    can_compress = True

    def __init__(self, level: int = 6) -> None:
        """``level`` is 1 to 9; raises UsageError outside."""
        if not 1 <= level <= 9:
            raise UsageError("deflate level %r is not within 1 to 9" % (level,))
        self._level = level

    def compress(self, data: "Buffer") -> bytes:
        """Return ``data`` as a raw deflate stream."""
        stream = zlib.compressobj(self._level, zlib.DEFLATED, -DEFLATE_WINDOW_BITS)
        return stream.compress(data) + stream.flush()

    def decompress(self, data: "Buffer", raw_bytes: int) -> bytes:
        """Return the ``raw_bytes`` bytes that ``data`` holds; the caller has bounded ``raw_bytes``.

        Raises ProtocolError when ``data`` is no raw deflate stream, or holds fewer or more bytes, or goes on after its
        end.
        """
        stream = zlib.decompressobj(-DEFLATE_WINDOW_BITS)
        try:
            raw = stream.decompress(data, raw_bytes + 1)
        except zlib.error as error:
            raise ProtocolError("deflate: %s" % error) from None
        if len(raw) != raw_bytes or not stream.eof or stream.unused_data:
            raise ProtocolError("deflate: wrong length")
        return raw


def codecs(preferred: str, level: int | None = None) -> Codecs:
    """Return what a host offers, ``preferred`` ("none", "deflate" or "zstd") first; ``level`` is the preferred one's.

    Every host can receive all three. With "none" preferred it sends nothing compressed. Raises UsageError for another
    name or a level that the codec does not have.
    """
    if preferred not in ("none", "deflate", "zstd"):
        raise UsageError("unknown codec %r: none, deflate or zstd" % (preferred,))
    zstd: Codec = ZstdCodec(level) if preferred == "zstd" and level is not None else ZstdCodec()
    deflate: Codec = DeflateCodec(level) if preferred == "deflate" and level is not None else DeflateCodec()
    if preferred == "none":
        return Codecs(NONE, zstd, deflate)
    if preferred == "deflate":
        return Codecs(deflate, zstd, NONE)
    return Codecs(zstd, deflate, NONE)
