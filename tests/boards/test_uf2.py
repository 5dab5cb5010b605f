"""UF2 files: what was written is read, and every way in which one can be wrong is refused by the number of the block."""

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import uf2

START = 0x10000000


@pytest.mark.parametrize("size", [1, 255, 256, 257, 5000])
def test_what_was_written_is_read(size: int, tmp_path: Path) -> None:
    data = random.randbytes(size)
    uf2.write(tmp_path / "a.uf2", uf2.RP2040, START, data)
    found = uf2.read(tmp_path / "a.uf2")
    assert (found.family, found.start) == (uf2.RP2040, START)
    assert found.data == data.ljust(-(-size // 256) * 256, b"\0") and found.end == START + len(found.data)


def word(at: int, value: int) -> Callable[[bytearray], None]:
    """Another word in the second block, at a byte of it."""
    return lambda raw: struct.pack_into("<I", raw, 512 + at, value)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (word(0, 1), "block 1 of 3: no UF2 block"),
        (word(4, 1), "block 1 of 3: no UF2 block"),
        (word(508, 1), "block 1 of 3: its end is not there"),
        (word(8, 0x2001), "block 1 of 3: not for the main flash"),
        (word(8, 0), "block 1 of 3: no family"),
        (word(28, 0xE48BFF59), "block 1 of 3: family 0xe48bff59 after 0xe48bff56"),
        (word(16, 128), "block 1 of 3: 128 bytes of data"),
        (word(12, START + 512), "block 1 of 3: address 0x10000200, where 0x10000100 follows"),
        (word(20, 2), "block 1 of 3: number 2 of 3"),
        (word(24, 4), "block 1 of 3: number 1 of 4"),
        (lambda raw: raw.__delitem__(slice(512, 1024)), "block 0 of 2: number 0 of 3"),
        (lambda raw: raw.__delitem__(slice(1500, None)), "1500 bytes are no whole blocks"),
        (lambda raw: raw.clear(), "0 bytes are no whole blocks"),
    ],
)
def test_what_a_boot_loader_would_pass_over_is_an_error(spoil: Callable[[bytearray], None], says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.uf2"
    uf2.write(path, uf2.RP2040, START, bytes(700))
    raw = bytearray(path.read_bytes())
    spoil(raw)
    path.write_bytes(raw)
    with pytest.raises(uf2.BadUf2) as caught:
        uf2.read(path)
    assert says in str(caught.value)
