"""What lies on a node's disk: segments, the state of a log, slots, names of files; opened, read, written to, and opened again.

Rule: opening and reading never raise and never stand still; what is read is batches and gaps in rising order up to the durable end, and
what is written afterwards is there the next time. Must not know: sessions.
"""

from typing import Any

from fuzz import packing
from fuzz.batch_targets import check_batch, vectors
from fuzz.fields import Fields, Script
from fuzz.target import REFUSED, Target, attempt
from harness import FakeClock, FakeEntropy, MemoryStorage
from logs import STREAM, WALL_MS, Bench
from streamline_core import cbor
from streamline_core.batch import batches
from streamline_core.consumer import Consumer, offset_at
from streamline_core.errors import StorageFull
from streamline_core.hlc import HybridClock
from streamline_core.lineage import extend, parting, term_at
from streamline_core.log import Log
from streamline_core.log_limits import LogLimits
from streamline_core.log_reader import LogReader
from streamline_core.partition import Partition
from streamline_core.segments import segment_name
from streamline_core.sender import Parting
from streamline_core.slots import SLOT_BYTES_MAX, Slots
from streamline_core.topic import TopicDefinition

PIECES_MAX = 1 << 14  # of one log here: inputs are a few KB, a batch has a header at least
OFFSET_MAX = 1 << 62  # of a stream, as docs/PROTOCOL.md says: a log that comes there is full
SETTLE_ROUNDS = 40
QUIET_ROUNDS = 3
AFTER = b"written after it"
LIMITS = LogLimits(1024, 65408, 1 << 20, 5, 8)  # as large batches as there are: who configures less is told so, loudly
GOLDEN_STATES = [bytes.fromhex(row["content"]) for row in vectors("slots.json")]
CONTENT = [1, -1, 3, 3, 3, 0, [["corrupt", 2]], [[7, 0]], [[1, 2, "corrupt"]], [[9, 77, 0, 2]]]
CONTENT += cbor.decode(GOLDEN_STATES[-1])[len(CONTENT) :]
"""What a state holds, as docs/FORMAT.md says; what came later is as in the golden vectors."""
STATE_FIELDS = (
    "version", "sealed_at", "checkpoint", "acked", "reported", "ordinal", "lost", "lineage", "gaps", "producers", "continues",
)  # fmt: skip


def read_log(log: Log, bytes_max: int) -> None:
    """All of it, from the first offset on: pieces follow each other up to the durable end."""
    reader, buf = LogReader(log, 0), bytearray(65536)
    for _ in range(PIECES_MAX):
        at = reader.offset
        piece = reader.read(buf, bytes_max)
        if piece is None:
            assert at >= log.durable, "reading stopped at %d of %d" % (at, log.durable)
            return
        assert piece.first == at < piece.next == reader.offset <= log.durable, (at, piece.first, piece.next, log.durable)
        assert (piece.cause is None) == (piece.bytes > 0)
        if piece.cause is None:
            found = list(batches(memoryview(buf)[: piece.bytes]))
            assert len(found) == piece.batches and found[0][0].base <= at and found[-1][0].next == piece.next
            for header, view in found:
                check_batch(header, view)
    raise AssertionError("more than %d pieces: reading stands still at offset %d" % (PIECES_MAX, reader.offset))


def write(log: Log) -> int:
    """One record more; returns its offset."""
    offset = log.append(AFTER, 5, 1 << 40)
    log.commit()
    return offset


def is_full(log: Log) -> bool:
    """Whether it has come to the last offset there is: then it says so, and offsets still fit 63 bits."""
    assert log.next < 1 << 63, "offset %d does not fit 63 bits" % log.next
    if log.next < OFFSET_MAX:
        return False
    return all(attempt(StorageFull, write, log) is REFUSED for _ in range(2))


def check_open(storage: MemoryStorage, offsets: tuple[int, ...] = ()) -> Log:
    """Open the log of STREAM, read it, write to it, and find that again. offsets: where reading may also begin."""
    bench = Bench(storage=storage)
    log = bench.open()
    assert log.durable == log.written, "not all of it became durable"
    for bytes_max in (1, 300):
        read_log(log, bytes_max)
    for offset in offsets:
        piece = LogReader(log, offset).read(bytearray(65536), 1)
        assert piece is None or piece.first == offset < piece.next
    if log.sealed:
        return log
    if is_full(log):
        return log
    offset = write(log)
    log.save_state(0)
    bench.settle(log)
    assert log.durable == log.next == offset + 1
    again = Bench(storage=storage).open()
    buf = bytearray(65536)
    piece = LogReader(again, offset).read(buf, 1)
    assert piece is not None and (piece.first, piece.next, piece.cause) == (offset, offset + 1, None), "what was written is gone"
    assert again.next == offset + 1
    return again


def run_segment(data: bytes) -> None:
    """The bytes are the first segment, as they stand."""
    storage = MemoryStorage()
    storage.append(segment_name(STREAM.folder(), 0), data)
    check_open(storage, (1, 5, 1 << 40))


def segment_seeds() -> list[bytes]:
    three = [packing.dense([b"%d" % i, b"x" * 5], 2 * i) for i in range(3)]
    damaged = three[1][:-1] + b"y"
    control = packing.batch(cbor.encode([1, 0, 6, 100]), packing.CONTROL, 0, 1, 6)
    return [b"".join(three), three[0] + damaged + three[2], three[0] + b"rot" + three[2] + control]


def run_state(data: bytes) -> None:
    """The bytes are the content of the state's slot, whose checksum is right; the log has a segment as well."""
    storage = MemoryStorage()
    storage.append(STREAM.folder() + "/state.1", packing.slot(data))
    for base in (0, 2):
        storage.append(segment_name(STREAM.folder(), base), packing.dense([b"one", b"two"], base))
    check_open(storage)


def state_seeds() -> list[bytes]:
    sealed, successor = list(CONTENT), list(CONTENT)
    sealed[1:2] = [3]
    successor[10:11] = [[5, 100]]
    return [*GOLDEN_STATES, *map(cbor.encode, (CONTENT, sealed, successor))]


def put_state(fields: Fields, storage: MemoryStorage, folder: str) -> None:
    """A state that is right but for the fields that the script changes."""
    which, row = fields.byte() | fields.byte() << 8, list(CONTENT)
    for i in range(len(row)):
        if which >> i & 1:
            row[i] = fields.value()
    content = attempt(Exception, cbor.encode, row)
    if content is not REFUSED:
        storage.append("%s/state.%d" % (folder, fields.below(2)), packing.slot(content, fields.unsigned(32)))


def put_segments(fields: Fields, storage: MemoryStorage, folder: str) -> None:
    """Some segments of batches, near-batches and noise, under right and wrong names."""
    at = 0
    for _ in range(fields.below(4)):
        kind = fields.below(8)
        name = "%s/%s" % (folder, fields.text()) if kind == 7 else segment_name(folder, fields.unsigned() if kind == 6 else at)
        content = b""
        for _ in range(fields.below(5)):
            kind = fields.below(8)
            batch = packing.batch_from(fields, at)
            if kind == 7:
                batch = fields.blob()
            elif kind == 6:
                batch = batch[: fields.number()]
            elif kind == 5:
                batch = batch[:-1] + bytes([batch[-1] ^ 1])
            elif kind == 4:
                at += fields.unsigned(30)
            content += batch
            at += 1 + fields.below(4)
        storage.append(name, content)


def run_log(data: bytes) -> None:
    """A whole folder of one (topic, partition): one or two epochs, each with its states and segments; consumed and written to."""
    fields, storage = Fields(data), MemoryStorage()
    for epoch in range(1 + fields.below(2)):
        folder = "t-0/e1-%08x" % (epoch + 1)
        for _ in range(fields.below(3)):
            put_state(fields, storage, folder)
        put_segments(fields, storage, folder)
    partition = open_partition(storage)
    consume(partition)
    if fields.below(2):
        fork(fields, storage, partition)
    log = partition.current
    for time_ms in (0, WALL_MS, 1 << 62):
        assert offset_at(log, time_ms) <= log.durable
    if is_full(log):
        return
    offset = write(log)
    settle(storage, partition)
    again = open_partition(storage)
    taken = Consumer(again, offset, bytearray(65536)).take()
    assert any(getattr(item, "value", None) == AFTER for item in taken), "what was written is gone"


def fork(fields: Fields, storage: MemoryStorage, partition: Partition) -> None:
    """The receiver says that it holds another log from some offset on: a new epoch follows, and says the same from there on."""
    log, before = partition.current, len(partition.logs())
    at = min(fields.unsigned(), log.next)
    attempt(StorageFull, partition.fork, log, Parting(at, min(at, fields.unsigned()), at, {}))
    settle(storage, partition)
    if len(partition.logs()) > before:
        assert partition.current is not log and log.sealed and log.ends_at <= at
        consume(partition)


def open_partition(storage: MemoryStorage) -> Partition:
    clock = HybridClock(FakeClock(1000, WALL_MS))
    partition = Partition("e1", "t", 0, TopicDefinition(), storage, LIMITS, clock, FakeEntropy(7))
    settle(storage, partition)
    return partition


def settle(storage: MemoryStorage, partition: Partition) -> None:
    """Complete every sync until nothing is asked any more; a fork goes on by its ticks."""
    quiet = 0
    for _ in range(SETTLE_ROUNDS):
        for log in partition.all_logs():
            log.tick(1 << 20)
        partition.tick()
        tickets = storage.completed()
        quiet = 0 if tickets else quiet + 1
        if quiet == QUIET_ROUNDS:
            return
        for ticket in tickets:
            for log in partition.all_logs():
                if log.owns(ticket):
                    log.synced(ticket, None)
    raise AssertionError("the storage is never settled")


def consume(partition: Partition) -> None:
    """Every log of it, then what an application sees, to the end."""
    for log in partition.logs():
        read_log(log, 1)
    consumer = Consumer(partition, 0, bytearray(65536))
    for _ in range(PIECES_MAX):
        before = consumer.log, consumer.offset
        if not consumer.take(1):
            return
        assert (consumer.log, consumer.offset) != before, "consuming stands still at offset %d" % consumer.offset
    raise AssertionError("consuming never ends")


def write_state(script: Script, **changed: Any) -> Script:
    which = sum(1 << STATE_FIELDS.index(name) for name in changed)
    script.byte(which & 255, which >> 8)
    for name in STATE_FIELDS:
        if name in changed:
            script.value(changed[name])
    return script.byte(1).number(1)


def write_segment(script: Script, *batch_values: list[bytes]) -> Script:
    """A segment under its right name."""
    script.byte(0, len(batch_values))
    for values in batch_values:
        packing.write_batch(script.byte(0), values).byte(len(values) - 1)
    return script


def log_seeds() -> list[bytes]:
    plain = write_segment(write_segment(Script().byte(0, 0, 2), [b"one", b"two"], [b"three"]), [b"four"])
    with_state = write_segment(write_state(Script().byte(0, 1), acked=1).byte(1), [b"one", b"two"])
    sealed = write_segment(write_state(Script().byte(1, 1), sealed_at=2).byte(1), [b"one", b"two"])
    write_segment(write_state(sealed.byte(1), ordinal=1, lineage=[[8, 0]]).byte(1), [b"three"])
    two = write_segment(Script().byte(1, 0, 1), [b"one", b"two"])
    write_segment(write_state(two.byte(1), ordinal=1, continues=[1, 2]).byte(1), [b"three"])
    return [bytes(plain), bytes(with_state), bytes(sealed), bytes(two), bytes(plain) + b"\1\2\1", bytes(with_state) + b"\1\1\0"]


def run_slot(data: bytes) -> None:
    """Two slot files of any bytes: a content or None, and what is saved afterwards is loaded again."""
    fields, storage = Fields(data), MemoryStorage()
    first = fields.blob()
    for i, content in enumerate((first, fields.rest())):
        if content:
            storage.append("f.%d" % i, content)
    before = Slots(storage, "f").load()
    assert before is None or len(before) <= SLOT_BYTES_MAX - 12
    assert before == Slots(storage, "f").load()
    slots = Slots(storage, "f")
    slots.load()
    for content in (b"new", b"newer"):
        slots.save(content)
        for _ in storage.completed():
            slots.synced(None)
        assert Slots(storage, "f").load() == content, "what was saved is not what is loaded"


def slot_seeds() -> list[bytes]:
    one, two = packing.slot(b"one", 1), packing.slot(b"two", 2)
    golden = [bytes.fromhex(row["hex"]) for row in vectors("slots.json")]
    torn, last = two[:-1], packing.slot(b"last", (1 << 32) - 1)
    seeds = [(two, one), (torn, one), (b"", one), (two, b""), (two, last), (b"", golden[1]), (golden[-1], golden[0])]
    return [bytes(Script().blob(a).raw(b)) for a, b in seeds]


def run_lineage(data: bytes) -> None:
    """Where two sides part, for any two lineages; ours rises, since we wrote it."""
    fields = Fields(data)
    mine: list[tuple[int, int]] = []
    at = 0
    for _ in range(fields.below(32)):  # who has more thins them
        extend(mine, 1 + fields.below(7), at)
        at += fields.below(4)
    assert all(a[1] < b[1] for a, b in zip(mine, mine[1:], strict=False))
    my_next = at + fields.below(8)
    theirs = [(fields.unsigned() if fields.below(4) == 0 else fields.below(8), fields.unsigned()) for _ in range(fields.below(12))]
    for their_next in (fields.unsigned(), fields.below(64), my_next):
        at_ = parting(mine, my_next, theirs, their_next)
        assert at_ is None or 0 <= at_ <= my_next, at_
        assert term_at(theirs, their_next) >= 0
        if mine and their_next > mine[0][1]:  # as far back as it remembers, it parts from nobody who holds the same
            assert parting(mine, my_next, mine, min(their_next, my_next)) is None
    hostile = list(theirs)
    for term, first in mine:
        extend(hostile, term, first)
    assert len(hostile) <= len(theirs) + len(mine)


def lineage_seeds() -> list[bytes]:
    mine = Script().byte(3, 1, 2, 2, 3, 5, 1, 4)
    return [bytes(mine.byte(2, 1, 1).number(0).byte(1, 2).number(2).number(3).byte(9))]


TARGETS = (
    Target("segment", run_segment, segment_seeds, "open_log, LogReader and appending on a segment of raw bytes", costly=True),
    Target("state", run_state, state_seeds, "LogState.load and opening a log, from any content behind a right checksum", costly=True),
    Target("log", run_log, log_seeds, "Partition, Consumer, offset_at on a folder of any states, segments and names", costly=True),
    Target("slot", run_slot, slot_seeds, "Slots.load and what is saved after it"),
    Target("lineage", run_lineage, lineage_seeds, "parting and extend on any lists"),
)
