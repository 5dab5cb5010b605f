"""The epochs of one (topic, partition) on this node: the log that is written to, and sealed ones that may still owe something.

Rule: at most one epoch is open. A fork seals it where the receiver holds other content and goes on in a new epoch; nothing of the new
one is durable, and so nothing of it leaves, before the seal is. Knows nothing of sessions.
"""

from .recovery import fork, open_log, random_u32
from .stream import StreamId

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .hlc import HybridClock
    from .log import Log
    from .log_limits import LogLimits
    from .ports import Entropy, Storage
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
        self._forking: "tuple[Log, int, int] | None" = None  # (old log, where to seal it, version of the successor's state)
        self._sealing = 0  # version of the old log's state that holds the seal
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
                # No saved state: a first epoch cut off at its birth has nothing durable either, nor has an unfinished successor.
                logs.append((log.state.ordinal, log.saved, log))
        ordered = sorted([(ordinal, not saved, i) for i, (ordinal, saved, _) in enumerate(logs)])
        unsealed = []
        for _, _, i in ordered:
            log = logs[i][2]
            if log.sealed:
                self.sealed.append(log)
            else:
                unsealed.append(log)
        current = unsealed[0] if unsealed else self._create(len(self.sealed))
        for log in unsealed[1:]:
            if log.state.reported:  # the hub had some of it, so the fork was complete: it is the older one's state that has rotted
                current.state.sealed_at = current.written
                current.state.save()
                self.sealed.append(current)
                current = log
            else:
                self._storage.remove(log.folder)  # its predecessor was never sealed: the fork will be found again
        self._note_epochs(current)
        return current

    def _create(self, ordinal: int) -> "Log":
        log = self._open(random_u32(self._entropy))
        log.state.ordinal = ordinal
        log.state.save()
        return log

    def _note_epochs(self, current: "Log") -> None:
        logs = self.sealed + [current]
        for log in logs:
            log.epochs_held = [other.stream.epoch for other in logs if other is not log]

    def logs(self) -> "list[Log]":
        return self.sealed + [self.current]

    def fork(self, log: "Log", at: int) -> "Log | None":
        """The receiver holds other content than `log` from offset `at` on: go on in a new epoch. Returns it, None if that is under way.
        Raises StorageFull, OSError: nothing has changed then."""
        if log is not self.current or self._forking is not None:
            return None
        successor = self._create(log.state.ordinal + 1)
        successor.held = True
        try:
            at = fork(log, at, successor)
        except Exception:
            self._storage.remove(successor.folder)
            raise
        version = successor.state.save()
        log.durable = min(log.durable, at)  # nothing above it is offered any more
        self._forking = (log, at, version)
        self._sealing = 0
        self.sealed.append(log)
        self.current = successor
        log.successor = successor
        log.state.sealed_at = at
        self._note_epochs(successor)
        return successor

    def tick(self) -> None:
        """Carry a fork on: the successor's data and state, then the seal, then the successor counts."""
        if self._forking is None:
            return
        log, _, version = self._forking
        successor = self.current
        if not self._sealing:
            if successor.settled_to_storage and successor.state.slots.durable_version >= version:
                self._sealing = log.state.save()
        elif log.state.slots.durable_version >= self._sealing:
            self._forking = None
            successor.held = False
            successor.release()
