"""The codecs that need no library, and how two nodes agree on one."""

from harness import raises
from streamline_core import codec
from streamline_core.errors import ProtocolError, UsageError

# b"edge " * 40 as raw deflate, written by zlib with a window of 4 KB.
RAW = b"edge " * 40
DEFLATED = bytes.fromhex("4b4d494f55481dfa0400")


class Fake:
    def __init__(self, name, can_compress=True):
        self.name = name
        self.id = codec.NAMES.index(name)
        self.can_compress = can_compress


def test_none():
    data = b"abc"
    assert codec.NONE.compress(data) is data
    assert codec.NONE.decompress(data, 3) is data
    raises(ProtocolError, codec.NONE.decompress, data, 2)
    raises(ProtocolError, codec.NONE.decompress, data, 4)
    assert codec.NONE.decompress(b"", 0) == b""


def test_ids():
    assert codec.NAMES == ("none", "deflate", "zstd")
    assert (codec.NONE_ID, codec.DEFLATE_ID, codec.ZSTD_ID) == (0, 1, 2)


def test_choose():
    zstd, deflate = Fake("zstd"), Fake("deflate")
    codecs = codec.Codecs(zstd, deflate)
    assert codecs.names == ("zstd", "deflate", "none")
    assert codecs.choose(["none", "deflate", "zstd"]) is zstd
    assert codecs.choose(("deflate", "none")) is deflate
    assert codecs.choose(["none"]) is codec.NONE
    assert codecs.choose([]) is codec.NONE
    assert codecs.choose([1, None, [], "lz4"]) is codec.NONE
    assert codecs.by_id(2) is zstd
    assert codecs.by_id(0) is codec.NONE
    raises(ProtocolError, codecs.by_id, 3)
    raises(ProtocolError, codec.Codecs().by_id, 1)
    raises(UsageError, codec.Codecs, zstd, Fake("zstd"))


def test_receive_only():
    zstd = Fake("zstd", can_compress=False)
    codecs = codec.Codecs(zstd, Fake("deflate"))
    assert codecs.names[0] == "zstd"
    assert codecs.choose(["zstd"]) is codec.NONE
    assert codecs.choose(["zstd", "deflate"]).name == "deflate"
    assert codecs.by_id(2) is zstd


def test_none_preferred():
    codecs = codec.Codecs(codec.NONE, Fake("zstd"))
    assert codecs.names == ("none", "zstd")
    assert codecs.choose(["zstd", "none"]) is codec.NONE


def test_device():
    codecs = codec.device_codecs()
    if codec.deflate is None:
        assert codecs.names == ("none",)
        raises(UsageError, codec.DeviceDeflateCodec)
        return
    assert codecs.names == ("deflate", "none")
    mine = codecs.by_id(codec.DEFLATE_ID)
    assert bytes(mine.decompress(DEFLATED, len(RAW))) == RAW
    assert bytes(mine.decompress(memoryview(DEFLATED), len(RAW))) == RAW
    for length in (0, 1, len(RAW) - 1, len(RAW) + 1, 70000):
        raises(ProtocolError, mine.decompress, DEFLATED, length)
    raises(ProtocolError, mine.decompress, DEFLATED + b"x", len(RAW))
    if mine.can_compress:
        assert bytes(mine.decompress(mine.compress(RAW), len(RAW))) == RAW
        assert codecs.choose(["deflate"]) is mine
    else:
        raises(UsageError, mine.compress, RAW)
        assert codecs.choose(["deflate"]) is codec.NONE


def test_device_refuses():
    if codec.deflate is None:
        return
    mine = codec.DeviceDeflateCodec()
    for length in range(len(DEFLATED)):
        raises(ProtocolError, mine.decompress, DEFLATED[:length], len(RAW))
    data = bytearray(DEFLATED)
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            try:
                assert len(mine.decompress(data, len(RAW))) == len(RAW)
            except ProtocolError:
                pass
            data[at] ^= 1 << bit
