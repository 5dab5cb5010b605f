"""cbor2 and our own CBOR cannot be told apart: same values, same bytes, same refusals."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamline_core import cbor, cbor_plain
from streamline_core.errors import ProtocolError, UsageError

pytest.importorskip("cbor2")

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.integers(-70000, 70000)
    | st.binary(max_size=300)
    | st.text(max_size=80)
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=30), max_leaves=60)
# Also what must be refused: floats, maps, bignums, tuples within, halves of surrogates.
ODD = st.recursive(
    LEAVES | st.floats() | st.integers() | st.just("\ud800") | st.just({}) | st.binary().map(bytearray),
    lambda inner: st.lists(inner, max_size=5) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=20,
)


def same(a, b):
    if type(a) is not type(b):
        return False
    if type(a) is list:
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def decoded(module, data):
    try:
        return [module.decode(data)]
    except ProtocolError:
        return None


def encoded(module, value):
    try:
        return module.encode(value)
    except UsageError:
        return None


def check_bytes(data):
    one, two = decoded(cbor, data), decoded(cbor_plain, data)
    assert (one is None) == (two is None), data.hex()
    if one is not None and two is not None:
        assert same(one[0], two[0]), data.hex()
        assert cbor_plain.encode(one[0]) == data


def test_they_are_two():
    assert cbor.decode is not cbor_plain.decode
    assert (cbor.DEPTH_MAX, cbor.ITEMS_MAX) == (cbor_plain.DEPTH_MAX, cbor_plain.ITEMS_MAX)
    assert (cbor.INT_MIN, cbor.INT_MAX) == (cbor_plain.INT_MIN, cbor_plain.INT_MAX)


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_values(value):
    data = encoded(cbor, value)
    assert data == encoded(cbor_plain, value)
    if data is not None:
        assert same(cbor.decode(data), value)
        check_bytes(data)


@settings(max_examples=300, deadline=None)
@given(ODD)
def test_odd_values(value):
    assert encoded(cbor, value) == encoded(cbor_plain, value)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60))
def test_bytes(data):
    check_bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_damaged(seed):
    """Valid encodings with bytes changed, removed, and doubled: near misses, where two decoders part."""
    rand = random.Random(seed)

    def value(depth):
        kind = rand.randrange(8 if depth < 7 else 6)
        if kind == 0:
            return rand.choice((None, True, False))
        if kind < 3:
            return rand.getrandbits(rand.randrange(1, 65)) - rand.choice((0, 1 << 8, 1 << 63))
        if kind == 3:
            return rand.randbytes(rand.choice((0, 3, 23, 24, 255, 256)))
        if kind < 6:
            text = (
                chr(rand.choice((0x41, 0xE9, 0x7FF, 0x800, 0xD7FF, 0xE000, 0x10FFFF)))
                for _ in range(rand.randrange(12))
            )
            return "".join(text)
        return [value(depth + 1) for _ in range(rand.randrange(6))]

    for _ in range(3000):
        data = bytearray(cbor_plain.encode([value(1) for _ in range(4)]))
        check_bytes(bytes(data))
        for _ in range(rand.randrange(1, 4)):
            at = rand.randrange(len(data))
            how = rand.randrange(4)
            if how == 0:
                data[at] = rand.randrange(256)
            elif how == 1:
                data[at] ^= 1 << rand.randrange(8)
            elif how == 2 and len(data) > 1:
                del data[at]
            else:
                data.insert(at, rand.choice(b"\x00\x18\x40\x60\x7f\x80\x9f\xa0\xc0\xc2\xd8\xf6\xf7\xf9\xff"))
        check_bytes(bytes(data))


@pytest.mark.parametrize("first", range(256))
def test_every_first_bytes(first):
    for second in range(256):
        check_bytes(bytes((first, second)))
        check_bytes(bytes((first, second)) + bytes(8))
