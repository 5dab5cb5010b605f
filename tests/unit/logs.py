"""Logs in memory for the tests of the core: open, settle, read all, and a batch packed by hand (not by the code under test)."""

import binascii
import struct

from harness import FakeClock, FakeEntropy, MemoryStorage
from streamline_core.batch import batches, records
from streamline_core.hlc import HybridClock
from streamline_core.log_limits import LogLimits
from streamline_core.log_reader import LogReader
from streamline_core.recovery import open_log
from streamline_core.stream import StreamId

WALL_MS = 1700000000000
STREAM = StreamId("e1", "t", 0, 0xABCD)


def pack_batch(base, values, hlc=WALL_MS << 16, term=7, producer=0, sequence=0, flags=1, behind=0):
    """A dense batch as docs/FORMAT.md says."""
    body = b"".join([struct.pack("<H", len(v)) for v in values] + list(values))
    n = len(values)
    head = struct.pack(
        "<HBBIIIQQIQQII", 0xB15E, 1, flags, 64 + len(body), n, n, base, hlc, term, producer, sequence, behind, binascii.crc32(body)
    )  # fmt: skip
    return head + struct.pack("<I", binascii.crc32(head)) + body


class Bench:
    """A storage, a clock and entropy that outlive the logs opened on them."""

    def __init__(self, seed=1, segment_bytes=1024, batch_bytes=512, storage=None, producers_max=64):
        self.storage = storage or MemoryStorage()
        self.clock = FakeClock(1000, WALL_MS)
        self.entropy = FakeEntropy(seed)
        self.limits = LogLimits(segment_bytes, batch_bytes, 1 << 20, 5, producers_max)

    def open(self, stream=STREAM, settled=True):
        log = open_log(stream, self.storage, self.limits, HybridClock(self.clock), self.entropy)
        if settled:
            self.settle(log)
        return log

    def settle(self, *logs):
        """Complete every sync until nothing is asked any more."""
        for _ in range(20):
            tickets = self.storage.completed()
            if not tickets:
                return
            for ticket in tickets:
                for log in logs:
                    if log.owns(ticket):
                        log.synced(ticket, None)

    def write(self, log, values, producer=0, sequence=0):
        """One batch, durable."""
        for i, value in enumerate(values):
            log.append(value, producer, sequence + i)
        log.commit()
        self.settle(log)

    def segments(self):
        return sorted([name for name in self.storage.files if name.endswith(".seg")])


def read_all(log, start=0, bytes_max=1):
    """([(offset, value)], [(first, next, cause)]) of all that is durable."""
    reader = LogReader(log, start)
    buf = bytearray(65536)
    found, gaps = [], []
    while True:
        at = reader.offset
        piece = reader.read(buf, bytes_max)
        if piece is None:
            return found, gaps
        assert piece.first == at and piece.next == reader.offset > at, (at, piece.first, piece.next)
        if piece.cause:
            gaps.append((piece.first, piece.next, piece.cause))
            continue
        for header, batch in batches(memoryview(buf)[: piece.bytes]):
            for record in records(header, batch):
                if record.offset >= at:
                    found.append((record.offset, record.value))
