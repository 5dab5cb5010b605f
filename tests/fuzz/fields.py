"""Values out of a fuzzer's bytes, and the bytes that give chosen values: how a target reaches behind checksums and shapes.

Rule: any bytes give values, and after the end of the bytes all values are small; so each input means something, and a shorter
one means less. `Script` writes what `Fields` reads. Must not know: what the values are for.
"""

from collections.abc import Sequence
from typing import Any

EDGES = (-1, (1 << 16) - 1, 1 << 16, (1 << 31) - 1, 1 << 32, (1 << 48) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
"""Numbers at which something ends: they have a byte of their own."""
_SMALL_MAX = 240  # a byte below it is that number
_WIDTHS = (2, 4, 8)  # then as many bytes follow, little-endian
_EDGE = _SMALL_MAX + len(_WIDTHS)
DEPTH_MAX = 10
KINDS = ("number", "negative", "bytes", "text", "list", "true", "false", "null")


class Fields:
    """Reads values from `data`, from its beginning on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return max(0, len(self._data) - self._at)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def raw(self, count: int) -> bytes:
        """As many of the next `count` bytes as there are."""
        self._at += count
        return self._data[self._at - count : self._at]

    def rest(self) -> bytes:
        return self.raw(self.left)

    def below(self, bound: int) -> int:
        """A number in [0, bound); bound at most 256."""
        return self.byte() % bound

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[self.below(len(choices))]

    def number(self) -> int:
        """Mostly small or at an edge, else up to 64 bits; -1 is the only one below 0."""
        first = self.byte()
        if first < _SMALL_MAX:
            return first
        if first < _EDGE:
            return int.from_bytes(self.raw(_WIDTHS[first - _SMALL_MAX]), "little")
        return EDGES[(first - _EDGE) % len(EDGES)]

    def unsigned(self, bits: int = 64) -> int:
        """A `number` that fits so many bits."""
        return self.number() & ((1 << bits) - 1)

    def blob(self) -> bytes:
        """A length, and as many bytes as there are of it."""
        return self.raw(min(max(0, self.number()), self.left))

    def text(self) -> str:
        return self.blob().decode("utf-8", "replace")

    def value(self, depth: int = 0) -> Any:
        """Anything of what CBOR here may hold, nested; a list is as long as its byte says."""
        kind = self.pick(KINDS)
        if kind == "number":
            return self.number()
        if kind == "negative":
            return -1 - self.unsigned(63)
        if kind == "bytes":
            return self.blob()
        if kind == "text":
            return self.text()
        if kind == "list":
            return [self.value(depth + 1) for _ in range(self.below(12))] if depth < DEPTH_MAX else []
        return {"true": True, "false": False, "null": None}[kind]


class Script:
    """Writes what Fields reads; each method returns the script itself."""

    def __init__(self) -> None:
        self._data = bytearray()

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def byte(self, *values: int) -> "Script":
        self._data += bytes(values)
        return self

    def raw(self, data: bytes) -> "Script":
        self._data += data
        return self

    def number(self, *values: int) -> "Script":
        for value in values:
            if 0 <= value < _SMALL_MAX:
                self._data.append(value)
            elif value in EDGES:
                self._data.append(_EDGE + EDGES.index(value))
            else:
                width = next(i for i, count in enumerate(_WIDTHS) if value < 1 << 8 * count)
                self._data.append(_SMALL_MAX + width)
                self._data += value.to_bytes(_WIDTHS[width], "little")
        return self

    def blob(self, data: bytes) -> "Script":
        return self.number(len(data)).raw(data)

    def text(self, text: str) -> "Script":
        return self.blob(text.encode())

    def value(self, value: Any) -> "Script":
        if value is None or isinstance(value, bool):
            return self.byte(KINDS.index({True: "true", False: "false", None: "null"}[value]))
        if isinstance(value, int):
            return self.byte(0).number(value) if value >= 0 else self.byte(1).number(-1 - value)
        if isinstance(value, bytes):
            return self.byte(2).blob(value)
        if isinstance(value, str):
            return self.byte(3).text(value)
        self.byte(4, len(value))
        for item in value:
            self.value(item)
        return self
