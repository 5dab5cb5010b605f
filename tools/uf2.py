"""UF2 files, as the boot loaders of microcontrollers take them: read with every block checked, and written from a plain image.

Rule: what a boot loader would pass over in silence (another family, a hole, a block too few) is an error here.
Must not know: boards. The format: https://github.com/microsoft/uf2.

Usage: python tools/uf2.py FILE…
"""

import struct
import sys
from dataclasses import dataclass
from pathlib import Path

RP2040 = 0xE48BFF56
BLOCK_BYTES, PAYLOAD_BYTES, DATA_BYTES = 512, 256, 476
MAGIC_START, MAGIC_SECOND, MAGIC_END = 0x0A324655, 0x9E5D5157, 0x0AB16F30
FLAG_NOT_MAIN_FLASH, FLAG_FAMILY = 0x1, 0x2000
_HEADER = "<8I"  # two magic words, flags, address, payload bytes, number, count, family


class BadUf2(Exception):
    """The text says what is wrong with which block."""


@dataclass(frozen=True)
class Uf2:
    """family: of the chip that takes it; start: the address of its first byte; data: all of its bytes, without a hole."""

    family: int
    start: int
    data: bytes

    @property
    def end(self) -> int:
        return self.start + len(self.data)


def read(path: Path) -> Uf2:
    """Raises BadUf2, OSError."""
    raw = path.read_bytes()
    if not raw or len(raw) % BLOCK_BYTES:
        raise BadUf2("%s: %d bytes are no whole blocks of %d" % (path.name, len(raw), BLOCK_BYTES))
    total, parts, start, family = len(raw) // BLOCK_BYTES, [], 0, 0
    for i in range(total):
        block = raw[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES]
        first, second, flags, address, n, number, count, its_family = struct.unpack_from(_HEADER, block)
        if i == 0:
            start, family = address, its_family
        for wrong, what in (
            ((first, second) != (MAGIC_START, MAGIC_SECOND), "no UF2 block"),
            (struct.unpack_from("<I", block, BLOCK_BYTES - 4)[0] != MAGIC_END, "its end is not there"),
            (flags & FLAG_NOT_MAIN_FLASH, "not for the main flash"),
            (not flags & FLAG_FAMILY, "no family: a boot loader cannot tell whether it is for this chip"),
            (its_family != family, "family 0x%08x after 0x%08x" % (its_family, family)),
            (n != PAYLOAD_BYTES, "%d bytes of data, not %d" % (n, PAYLOAD_BYTES)),
            ((number, count) != (i, total), "number %d of %d" % (number, count)),
            (address != start + i * PAYLOAD_BYTES, "address 0x%08x, where 0x%08x follows" % (address, start + i * PAYLOAD_BYTES)),
        ):
            if wrong:
                raise BadUf2("%s: block %d of %d: %s" % (path.name, i, total, what))
        parts.append(block[32 : 32 + n])
    return Uf2(family, start, b"".join(parts))


def write(path: Path, family: int, start: int, data: bytes) -> None:
    """data: what belongs at address `start`; its last block is filled up with zeros. Raises OSError."""
    total = -(-len(data) // PAYLOAD_BYTES)
    blocks = []
    for i in range(total):
        payload = data[i * PAYLOAD_BYTES : (i + 1) * PAYLOAD_BYTES]
        address = start + i * PAYLOAD_BYTES
        header = struct.pack(_HEADER, MAGIC_START, MAGIC_SECOND, FLAG_FAMILY, address, PAYLOAD_BYTES, i, total, family)
        blocks.append(header + payload.ljust(DATA_BYTES, b"\0") + struct.pack("<I", MAGIC_END))
    path.write_bytes(b"".join(blocks))


def main() -> int:
    for name in sys.argv[1:]:
        try:
            found = read(Path(name))
        except (BadUf2, OSError) as error:
            print("uf2: %s" % error, file=sys.stderr)
            return 1
        print("%s: family 0x%08x, 0x%08x to 0x%08x, %s bytes" % (name, found.family, found.start, found.end, format(len(found.data), ",")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
