"""The hosts' codecs: exactly the promised bytes or a ProtocolError, and no memory spent on a stranger's word."""

import random
import tracemalloc
import zlib

import pytest
import zstandard

from streamline_core.codec import NONE
from streamline_core.errors import ProtocolError, UsageError
from streamline_host.codecs import DeflateCodec, ZstdCodec, codecs

RAW = b"".join(b'{"sensor": "t%d", "value": %d}' % (n % 7, n * n) for n in range(60))
BOTH = pytest.mark.parametrize("codec", [ZstdCodec(), DeflateCodec()], ids=lambda codec: codec.name)


@BOTH
@pytest.mark.parametrize("raw", [b"", b"x", RAW, bytes(300000), random.Random(1).randbytes(70000)])
def test_round_trip(codec, raw):
    for source in (raw, bytearray(raw), memoryview(raw)):
        packed = codec.compress(source)
        assert codec.decompress(packed, len(raw)) == raw
        assert codec.decompress(memoryview(packed), len(raw)) == raw


@BOTH
def test_refused(codec):
    packed = codec.compress(RAW)
    for length in (0, 1, len(RAW) - 1, len(RAW) + 1, 1 << 20):
        with pytest.raises(ProtocolError):
            codec.decompress(packed, length)
    for cut in range(len(packed)):
        with pytest.raises(ProtocolError):
            codec.decompress(packed[:cut], len(RAW))
    for more in (b"\0", packed, codec.compress(b"")):
        with pytest.raises(ProtocolError):
            codec.decompress(packed + more, len(RAW))


@BOTH
def test_every_bit_flipped(codec):
    packed = bytearray(codec.compress(RAW))
    for bit in range(len(packed) * 8):
        packed[bit >> 3] ^= 1 << (bit & 7)
        try:
            assert len(codec.decompress(packed, len(RAW))) == len(RAW)
        except ProtocolError:
            pass
        packed[bit >> 3] ^= 1 << (bit & 7)


@BOTH
def test_bomb(codec):
    bomb = codec.compress(bytes(100 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            codec.decompress(bomb, 65536)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_zstd_without_size():
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(RAW)
    with pytest.raises(ProtocolError):
        ZstdCodec().decompress(packed, len(RAW))


def test_deflate_stays_in_the_window_of_a_board():
    raw = random.Random(2).randbytes(5000) * 2  # a repeat that only a window beyond 4 KB could use
    assert len(DeflateCodec(9).compress(raw)) > len(raw)
    assert zlib.decompress(DeflateCodec().compress(RAW), -12) == RAW


def test_collection():
    assert codecs("zstd").names == ("zstd", "deflate", "none")
    assert codecs("deflate").names == ("deflate", "zstd", "none")
    assert codecs("none").names[0] == "none"
    assert codecs("zstd").choose(["deflate", "none"]).name == "deflate"
    assert codecs("none").choose(["zstd", "none"]) is NONE
    assert codecs("zstd", 19).choose(["zstd"]).name == "zstd"
    for name, level in (("lz4", None), ("zstd", 0), ("zstd", 23), ("deflate", 10)):
        with pytest.raises(UsageError):
            codecs(name, level)
