"""A fork: where a receiver holds other content than a log, what follows goes on in a new epoch, step by step.

Rule: the successor's state, then its data, then the seal, then the successor counts: each is durable before the next begins, so that a
power cut leaves either an open predecessor, or a sealed one and all that followed. Where the storage fails before the seal, nothing has
changed, and the receiver's next WANT finds the parting again. Loaded only by who forks: few nodes ever do, and boards pay for each module.
"""

from .batch import HEADER_BYTES, batches
from .errors import StorageFull
from .gaps import REFUSED
from .log_reader import LogReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log
    from .partition import Partition
    from .sender import Parting

CREATED, MOVED, SEALED = 0, 1, 2


class Fork:
    """Of `log`, the current one of a partition, at a parting, into `successor`, which was just created. rewinds: nothing is moved. step:
    one of CREATED, MOVED, SEALED. given_up: it has come to nothing."""

    def __init__(self, partition: "Partition", log: "Log", parting: "Parting", successor: "Log", rewinds: bool) -> None:
        self.log = log
        self.successor = successor
        self.step = CREATED
        self._partition = partition
        self._rewinds = rewinds
        self._parting = parting
        self._version = successor.state.slots.version  # of the state that the step waits for
        self._acked = log.state.acked  # when the parting was found
        self._end = 0  # of what was moved, in the successor
        self.given_up = False

    def tick(self) -> "Log | None":
        """Carry it on; returns the new epoch when it counts and may be offered. It is over then, or where it was `given_up`."""
        log, successor = self.log, self.successor
        if self.step != SEALED and (successor.failure is not None or log.failure is not None):
            self._give_up()
            return None
        # Each step is looked at in the same call: where nothing has to become durable, nothing will call again.
        if self.step == CREATED:
            if log.state.acked != self._acked:
                self._give_up()  # a later WANT knew this log: what parted has been restored, or was another device
            elif successor.state.slots.durable_version >= self._version:
                self._move()
        if self.step == MOVED and not self.given_up and successor.mark.reached >= self._end:
            parting = self._parting
            self._version = seal(log, parting.next, parting.produced, parting.lost)
            self.step = SEALED
        if self.step != SEALED or log.state.slots.durable_version < self._version:
            return None
        log.segments.drop_from(log.ends_at)  # what was moved
        log.segments.close_head()
        log.written = min(log.written, log.ends_at)
        successor.state.provisional = False
        successor.state.continues = log.stream.epoch, log.ends_at
        successor.state.save()
        successor.held = False
        successor.advance()
        return successor

    def _move(self) -> None:
        log, successor = self.log, self.successor
        successor.held = True
        try:
            at = self._parting.at if self._rewinds else move(log, self._parting.at, successor)
        except (StorageFull, OSError):
            self._give_up()
            return
        end(log, at, successor)
        self.step, self._end = MOVED, successor.written
        self._partition.go_on_in(successor)

    def _give_up(self) -> None:
        log, successor = self.log, self.successor
        self.given_up = True
        if self.step == MOVED:
            self._partition.go_back_to(log)
            log.ends_at, log.successor = -1, None
            log.durable = log.mark.offset
            successor.reset()  # whoever waits for it learns by its term that it is not what it was
        self._partition.discard(successor)


def move(log: "Log", at: int, successor: "Log") -> int:
    """Append again, to `successor` (an empty log), what `log` holds from offset `at` on, and ask for it to be durable. The caller
    seals `log` when it is: a power cut before that leaves the fork to be found again, and an unfinished successor is dropped.

    Returns where to seal: `at`, or the base of the batch that holds it, since a batch is never cut. Raises
    StorageFull, OSError: the successor is worth nothing then."""
    log.cut()
    seal = -1
    reader = LogReader(log, at)
    reader.to_written = True
    buf = bytearray(log.limits.batch_bytes)
    while True:
        piece = reader.read(buf, 1)
        if piece is None:
            break
        if piece.cause:
            successor.append_gap(piece.next - piece.first, piece.cause)
            continue
        for header, batch in batches(memoryview(buf)[: piece.bytes]):
            if seal < 0:
                seal = min(at, header.base)
                _hand_on_producers(log, seal, successor)
            if header.flags > 255:  # of a later version, which this build cannot write
                successor.append_gap(header.span, REFUSED)
            elif log.keyed and not header.control:
                from .moving import move_versions  # where no topic is keyed, no board pays for it

                move_versions(log, seal, header, batch, successor)
            else:
                successor.append_again(header, batch[HEADER_BYTES:])
    if seal < 0:
        seal = at
        _hand_on_producers(log, seal, successor)
    successor.commit()
    return seal


def end(log: "Log", at: int, successor: "Log") -> None:
    """All from `at` on has moved to `successor`: nothing above it is offered any more."""
    log.ends_at, log.successor = at, successor
    log.durable = min(log.durable, at)


def seal(log: "Log", acked: int, reported: int, lost: "dict[str, int]") -> int:
    """Note for good that the epoch has ended, and what the other side has of it (as in LogState). Returns the version of the
    state to wait for."""
    state = log.state
    state.sealed_at = log.ends_at
    state.acked, state.lost = acked, lost
    state.reported = reported
    state.gaps.forget_above(log.ends_at)
    return log.save_state(log.clock.monotonic_ms())


def _hand_on_producers(log: "Log", seal: int, successor: "Log") -> None:
    """What producers stored before the seal stays known as stored, though not where: offsets there mean nothing in the successor."""
    rows = []
    for producer, sequence, offset, count in log.producers.to_wire():
        below = min(count, max(0, seal - offset))
        if sequence + below > 0:
            rows.append((producer, sequence + below, 0, 0))
    successor.producers.load(rows)
    successor.state.producers.load(rows)
