"""The epochs of one (topic, partition) on this node: the log that is written to, and sealed ones that may still owe something.

Rule: at most one epoch is open. A fork seals it where the receiver holds other content and goes on in a new epoch; nothing of the new
one is durable, and so nothing of it leaves, before the seal is. Knows nothing of sessions.
"""

from .recovery import open_log, random_u32, recover
from .segments import list_segments, segment_name
from .stream import StreamId

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .forking import Fork
    from .hlc import HybridClock
    from .log import Log
    from .log_limits import LogLimits
    from .ports import Entropy, Storage
    from .sender import Parting
    from .topic import TopicDefinition


class Partition:
    """current: the log to append to. sealed: older epochs still here, oldest first."""

    def __init__(
        self,
        origin: str,
        topic: str,
        partition: int,
        definition: "TopicDefinition",
        storage: "Storage",
        limits: "LogLimits",
        clock: "HybridClock",
        entropy: "Entropy",
    ) -> None:
        self._origin = origin
        self.topic = topic
        self.number = partition
        self._definition = definition.to_wire()
        self._storage = storage
        self._limits = limits
        self._clock = clock
        self._entropy = entropy
        self.local = definition.direction == "local"
        self.sealed: "list[Log]" = []
        self._forking: "Fork | None" = None
        self.current = self._open_all()

    def _open(self, epoch: int) -> "Log":
        stream = StreamId(self._origin, self.topic, self.number, epoch)
        log = open_log(stream, self._storage, self._limits, self._clock, self._entropy)
        log.definition = self._definition
        return log

    def _open_all(self) -> "Log":
        folder = "%s-%d" % (self.topic, self.number)
        logs = []
        for name in self._storage.list(folder):
            origin, _, epoch = name.rpartition("-")
            if origin == self._origin and len(epoch) == 8 and all([c in "0123456789abcdef" for c in epoch]):
                log = self._open(int(epoch, 16))
                if log.saved or log.segments.bases:
                    logs.append(log)
                else:
                    self.discard(log)  # cut off at its birth, or in the middle of being removed
        # What counts for sure comes first; what has no state left comes last: it may be a removal that a power cut undid in part.
        logs.sort(key=lambda log: (not log.saved, log.state.provisional, log.state.ordinal, log.stream.epoch))
        self._seal_again(logs)
        self.sealed = [log for log in logs if log.sealed]
        unsealed = [log for log in logs if not log.sealed]
        current = unsealed[0] if unsealed else self._create(len(self.sealed))
        for log in unsealed[1:]:
            if not log.saved and len(self.sealed) < current.state.ordinal:  # an older one, whose state has rotted
                log.state.sealed_at = log.ends_at = log.written
                log.state.save()
                self.sealed.insert(0, log)
            elif log.state.provisional or not log.saved:
                self.discard(log)  # its predecessor was never sealed: the fork will be found again
            else:  # the fork was complete: it is the older one's state that has rotted
                current.state.sealed_at = current.ends_at = current.written
                current.state.save()
                self.sealed.append(current)
                current = log
        if current.state.provisional:
            current.state.provisional = False  # the power went between its predecessor's seal and this
            current.state.save()
        self._note_epochs(current)
        for log in self.sealed + [current]:
            if log.state.continues is not None:
                for older in self.sealed:
                    if (older.stream.epoch, older.ends_at) == tuple(log.state.continues):
                        older.successor = log
        return current

    def _seal_again(self, logs: "list[Log]") -> None:
        """A log whose successor counts was sealed, though its own state may have rotted to one that does not say so."""
        for successor in logs:
            if successor.state.continues is not None and not successor.state.provisional:
                epoch, at = successor.state.continues
                for log in logs:
                    if log.stream.epoch == epoch and not log.sealed and log.state.ordinal < successor.state.ordinal:
                        log.state.sealed_at = log.ends_at = at
                        log.state.gaps.forget_above(at)  # what lay there was moved, and is no loss
                        recover(log, self._entropy)
                        log.state.save()

    def _create(self, ordinal: int, provisional: bool = False, start: int = 0) -> "Log":
        log = self._open(random_u32(self._entropy))
        if start:
            log.state.checkpoint = log.state.starts_at = start
            recover(log, self._entropy)
        log.state.ordinal = ordinal
        log.state.provisional = provisional
        log.state.save()
        return log

    def discard(self, log: "Log") -> None:
        """Remove a log, its state last: what is left after a power cut still says that it does not count."""
        for base in list_segments(self._storage, log.folder)[::-1]:
            self._storage.remove(segment_name(log.folder, base))
        self._storage.remove(log.folder)

    def _note_epochs(self, current: "Log") -> None:
        logs = self.sealed + [current]
        for log in logs:
            log.epochs_held = [other.stream.epoch for other in logs if other is not log]

    def logs(self) -> "list[Log]":
        return self.sealed + [self.current]

    def all_logs(self) -> "list[Log]":
        """As `logs`, and the successor that a fork is preparing: whoever has tickets."""
        fork = self._forking
        return self.logs() if fork is None or fork.successor is self.current else self.logs() + [fork.successor]

    @property
    def forking(self) -> bool:
        return self._forking is not None

    def fork(self, log: "Log", parting: "Parting", start: int = -1) -> None:
        """The receiver's log is another one from `parting.at` on: go on in a new epoch, step by step (see `tick`). start: of a feed that is
        rewound; the new epoch begins there, and nothing is moved. Nothing happens while one is under way. Raises StorageFull, OSError:
        nothing has changed then."""
        if log is self.current and self._forking is None:
            from .forking import Fork

            self._forking = Fork(self, log, parting, self._create(log.state.ordinal + 1, True, max(0, start)), start >= 0)

    def tick(self) -> "Log | None":
        """Carry a fork on; returns the new epoch when it counts and may be offered."""
        fork = self._forking
        if fork is None:
            return None
        successor = fork.tick()
        if successor is not None or fork.given_up:
            self._forking = None
        return successor

    def go_on_in(self, successor: "Log") -> None:
        """What was current has ended."""
        self.sealed.append(self.current)
        self.current = successor
        self._note_epochs(successor)

    def go_back_to(self, log: "Log") -> None:
        """Undo `go_on_in`."""
        self.sealed.remove(log)
        self.current = log
        self._note_epochs(log)
