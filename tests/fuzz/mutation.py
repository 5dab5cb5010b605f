"""Bytes made from bytes: what stands in for coverage guidance where atheris is missing, and what the tests try beside cuts and flips.

Rule: the same random numbers make the same bytes. Must not know: targets.
"""

import random
from collections.abc import Iterator, Sequence

EDGES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
STEPS_MAX = 4


def cuts(data: bytes) -> Iterator[bytes]:
    """Every beginning of `data`, from nothing to all but the last byte."""
    for length in range(len(data)):
        yield data[:length]


def flips(data: bytes) -> Iterator[bytes]:
    """`data` with each of its bits flipped in turn."""
    copy = bytearray(data)
    for bit in range(len(copy) * 8):
        copy[bit >> 3] ^= 1 << (bit & 7)
        yield bytes(copy)
        copy[bit >> 3] ^= 1 << (bit & 7)


def mutate(seeds: Sequence[bytes], rand: random.Random, bytes_max: int) -> bytes:
    """One of `seeds`, changed in one to STEPS_MAX places: bits, bytes, numbers; pieces cut, doubled, or taken from another seed."""
    data = bytearray(rand.choice(seeds))
    for _ in range(rand.randint(1, STEPS_MAX)):
        at = rand.randrange(len(data) + 1)
        size = min(len(data) - at, 1 << rand.randrange(6))
        how = rand.randrange(8)
        if how == 0 and at < len(data):
            data[at] ^= 1 << rand.randrange(8)
        elif how == 1 and at < len(data):
            data[at] = rand.choice(EDGES)
        elif how == 2:
            data[at : at + size] = rand.choice((b"\xff", b"\x00")) * size
        elif how == 3:
            del data[at : at + size]
        elif how == 4:
            data[at:at] = data[at : at + size]
        elif how == 5:
            data[at:at] = rand.randbytes(rand.randrange(1, 9))
        elif how == 6:
            other = rand.choice(seeds)
            begin = rand.randrange(len(other) + 1)
            data[at:at] = other[begin : begin + rand.randrange(1, 65)]
        elif at < len(data):
            data[at] = (data[at] + rand.choice((1, 255))) & 255
    return bytes(data[:bytes_max])
