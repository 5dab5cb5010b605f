"""CBOR: one value, one encoding, on both interpreters; anything else is refused."""

from harness import raises
from streamline_core import cbor, cbor_plain
from streamline_core.errors import ProtocolError, UsageError

# value, encoding in hex: RFC 8949, appendix A, where it has the value.
EXAMPLES = (
    (0, "00"),
    (23, "17"),
    (24, "1818"),
    (255, "18ff"),
    (256, "190100"),
    (65535, "19ffff"),
    (65536, "1a00010000"),
    ((1 << 32) - 1, "1affffffff"),
    (1 << 32, "1b0000000100000000"),
    ((1 << 64) - 1, "1bffffffffffffffff"),
    (-1, "20"),
    (-24, "37"),
    (-25, "3818"),
    (-1000, "3903e7"),
    (-(1 << 63), "3b7fffffffffffffff"),
    (b"", "40"),
    (b"\x01\x02\x03\x04", "4401020304"),
    (b"x" * 24, "5818" + "78" * 24),
    ("", "60"),
    ("IETF", "6449455446"),
    ("\u00fc", "62c3bc"),
    ("\u6c34", "63e6b0b4"),
    ("\U00010151", "64f0908591"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    ([], "80"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    ([0, False, -1, True, 1, None], "8600f420f501f6"),
    ([[[[[[[[]]]]]]]], "8181818181818180"),
)

REFUSED = (
    "",  # nothing
    "0000",  # two values
    "1800",  # long forms of 0, 23, 255, 65535, 2^32-1
    "1817",
    "1900ff",
    "1a0000ffff",
    "1b00000000ffffffff",
    "3800",
    "5800",
    "580161",
    "7800",
    "9800",
    "1c",  # lengths that do not exist
    "1f",
    "5f4101ff",  # indefinite lengths
    "7f6161ff",
    "9f00ff",
    "a0",  # a map
    "c100",  # tags: time, bignum, decimal, shared value and reference to it, set, self-described
    "c249010000000000000000",
    "c4820101",
    "d81c81d81d00",
    "82d81c80d81d00",
    "d9010281d81c80",
    "d9d9f700",
    "f7",  # undefined, other simple values, floats, break
    "f0",
    "f814",
    "f8ff",
    "f93c00",
    "fa3f800000",
    "fb3ff0000000000000",
    "ff",
    "8100ff",
    "3b8000000000000000",  # below -2^63
    "3bffffffffffffffff",
    "61ff",  # text: stray byte, cut short, overlong (2, 3, 4 bytes), surrogate, above U+10FFFF
    "61c3",
    "62c080",
    "62c1bf",
    "63e08080",
    "63e09fbf",
    "63eda080",
    "63edbfbf",
    "64f0808080",
    "64f08fbfbf",
    "64f4908080",
    "64f5808080",
    "64f8808080",
    "818181818181818180",  # nine deep
    "81" * 400 + "00",
    "9affffffff00",  # lengths beyond the end, and far beyond memory
    "9b7fffffffffffffff",
    "9bffffffffffffffff00",
    "5b7fffffffffffffff",
    "5bffffffffffffffff00",
    "7b00000000ffffffff",
)

VALUE = [1, "node-\u00e9\u6c34\U0001f600", b"\x00\xff" * 20, [7, -70000, [1 << 40, None, True], "x" * 300], False, []]

BOTH = (cbor, cbor_plain)


def check_any(data):
    """Whatever the bytes are: a value whose encoding they are, or a ProtocolError; both implementations alike."""
    results = []
    for module in BOTH:
        try:
            value = module.decode(data)
        except ProtocolError:
            results.append("refused")
            continue
        assert module.encode(value) == bytes(data)
        results.append(repr(value))
    assert results[0] == results[1], (bytes(data), results)


def test_examples():
    for module in BOTH:
        for value, text in EXAMPLES:
            data = bytes.fromhex(text)
            assert module.encode(value) == data, text
            got = module.decode(data)
            assert got == value and type(got) is type(value), text


def test_refused():
    for module in BOTH:
        for text in REFUSED:
            try:
                value = module.decode(bytes.fromhex(text))
            except ProtocolError:
                continue
            raise AssertionError("%s: %s gave %r" % (module.__name__, text, value))


def test_types():
    for module in BOTH:
        data = module.encode([True, 1, 0, False, (2, 3), b"a", "a"])
        assert data == bytes.fromhex("87f50100f48202034161" + "6161")
        for source in (data, bytearray(data), memoryview(data)):
            value = module.decode(source)
            assert [type(item) for item in value] == [bool, int, int, bool, list, bytes, str]
            assert value[4] == [2, 3]


def test_what_cannot_be_encoded():
    deep = [[[[[[[[[]]]]]]]]]
    cyclic = []
    cyclic.append(cyclic)
    values = (1.5, {}, {1: 2}, bytearray(b"x"), memoryview(b"x"), 1 << 64, -(1 << 63) - 1, deep, cyclic, object(), {1})
    values += ([0] * 4096, "\ud800", ["a\udfffb"])
    for module in BOTH:
        for value in values:
            raises(UsageError, module.encode, value)


def test_bounds():
    assert cbor_plain.DEPTH_MAX == getattr(cbor, "DEPTH_MAX", 8) == 8
    assert cbor_plain.ITEMS_MAX == getattr(cbor, "ITEMS_MAX", 4096) == 4096
    for module in BOTH:
        most = [0] * 4095
        data = module.encode(most)
        assert module.decode(data) == most
        raises(ProtocolError, module.decode, b"\x99\x10\x00" + bytes(4096))
        # Few bytes, many items: arrays of arrays.
        raises(ProtocolError, module.decode, b"\x98\x40" + (b"\x98\x40" + bytes(64)) * 64)
        long = [b"z" * 5000, "z" * 5000]
        assert module.decode(module.encode(long)) == long


def test_cut_at_every_length():
    data = cbor.encode(VALUE)
    assert cbor.decode(data) == VALUE == cbor_plain.decode(data)
    for length in range(len(data)):
        for module in BOTH:
            raises(ProtocolError, module.decode, data[:length])
    for module in BOTH:
        raises(ProtocolError, module.decode, data + b"\x00")


def test_every_bit_flipped():
    data = bytearray(cbor.encode(VALUE))
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            check_any(data)
            data[at] ^= 1 << bit


def test_every_two_bytes():
    for first in range(256):
        check_any(bytes((first,)))
        for second in range(0, 256, 5):
            check_any(bytes((first, second)))
