"""What the core's unit tests need, on both interpreters: a world in memory, and ways to hurt a decoder.

A test file is a plain module: functions test_*, without arguments, with plain `assert`, no pytest. Names listed in its
CPYTHON_ONLY = (...) are left out on MicroPython; a comment beside them says why.
"""

import sys

MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    import micropython


def raises(kind, function, *args):
    """Call; return the exception of that kind that it raised. Raises AssertionError if it raised none; others pass."""
    try:
        result = function(*args)
    except kind as error:
        return error
    raise AssertionError("%s was not raised; the result was %r" % (kind.__name__, result))


def without_heap(function):
    """Call with allocation forbidden where that can be forbidden (MemoryError says where it tried), else just call.

    Without arguments, since unpacking them allocates: hand over a closure.
    """
    if not MICROPYTHON:
        return function()
    micropython.heap_lock()
    try:
        return function()
    finally:
        micropython.heap_unlock()


def cuts(data):
    """Every beginning of `data`, from nothing to all but the last byte."""
    for length in range(len(data)):
        yield bytes(data[:length])


def flips(data):
    """`data` with each of its bits flipped in turn, as (bit number, copy)."""
    copy = bytearray(data)
    for bit in range(len(copy) * 8):
        copy[bit >> 3] ^= 1 << (bit & 7)
        yield bit, bytes(copy)
        copy[bit >> 3] ^= 1 << (bit & 7)


class Random:
    """The same numbers on both interpreters for one seed (xorshift32): the modules named random differ."""

    def __init__(self, seed=1):
        self._state = (seed & 0xFFFFFFFF) or 1

    def below(self, bound):
        """An integer in [0, bound), bound at most 2^32; even enough for tests."""
        x = self._state
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        self._state = x
        return x % bound

    def bytes(self, length):
        return bytes([self.below(256) for _ in range(length)])


class FakeClock:
    """A Clock that moves when told to; `wall` is None until somebody sets it."""

    def __init__(self, monotonic=0, wall=None):
        self.monotonic = monotonic
        self.wall = wall

    def monotonic_ms(self):
        return self.monotonic

    def wall_ms(self):
        return self.wall

    def zone_ms(self, wall_ms):
        return 0

    def advance(self, ms):
        self.monotonic += ms
        if self.wall is not None:
            self.wall += ms


class FakeEntropy:
    """An Entropy that can be predicted: the same bytes for one seed."""

    def __init__(self, seed=1):
        self._random = Random(seed)

    def fill(self, buf):
        for index in range(len(buf)):
            buf[index] = self._random.below(256)


class MemoryStorage:
    """A Storage in memory. Syncs complete when `completed()` is asked; `power_cut()` loses what none of them covered.

    capacity: bytes, None for no bound. full: the exception for an append beyond it (StorageFull of the core, say).
    """

    def __init__(self, capacity=None, full=OSError):
        self.files = {}
        self._durable = {}
        self._pending = []
        self._ticket = 0
        self._capacity = capacity
        self._full = full

    def append(self, name, data):
        if self._capacity is not None and len(data) > self.free_bytes():
            raise self._full("no room for %d bytes" % len(data))
        self.files.setdefault(name, bytearray()).extend(data)

    def sync(self, name):
        self._ticket += 1
        self._pending.append((self._ticket, name, bytes(self.files.get(name, b""))))
        return self._ticket

    def replace(self, name, data):
        self.files[name] = bytearray(data)
        return self.sync(name)

    def completed(self):
        """The tickets of all syncs so far, in order; what they covered is durable from now on."""
        tickets = []
        for ticket, name, content in self._pending:
            tickets.append(ticket)
            if name in self.files:
                self._durable[name] = content
        self._pending = []
        return tickets

    def power_cut(self):
        """Back to what was durable; syncs that were under way never complete."""
        self.files = {}
        for name in self._durable:
            self.files[name] = bytearray(self._durable[name])
        self._pending = []

    def read_into(self, name, offset, buf):
        piece = self.files.get(name, b"")[offset : offset + len(buf)]
        buf[: len(piece)] = piece
        return len(piece)

    def size(self, name):
        return len(self.files[name]) if name in self.files else -1

    def list(self, folder):
        prefix = folder + "/" if folder else ""
        return sorted({name[len(prefix) :].split("/")[0] for name in self.files if name.startswith(prefix)})

    def remove(self, name):
        for path in [path for path in self.files if path == name or path.startswith(name + "/")]:
            del self.files[path]
            self._durable.pop(path, None)

    def free_bytes(self):
        if self._capacity is None:
            return 1 << 30
        return self._capacity - sum(len(content) for content in self.files.values())
