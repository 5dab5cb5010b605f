"""The node's way to its hub: which session is current, when to greet, and which frames may leave now.

Rule: an unreachable hub is a state, never an error; retries wait with full jitter; control frames do not wait behind data; what is urgent
does not wait for intervals and windows. Knows nothing of MQTT or of logs' insides.
"""

from . import VERSION, frames
from .backoff import Backoff, jitter
from .errors import ProtocolError
from .handshake import EDGE, Identity
from .pacing import Pacing
from .schedule import ALL, NOTHING, URGENT, Schedule
from .session import OPEN, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Protocol

    from .codec import Codecs
    from .config import EdgeConfig, SyncConfig, TopicConfig
    from .downlink import Downlink
    from .hlc import HybridClock
    from .log import Log
    from .node import Node
    from .partitions import Partitions
    from .ports import Entropy, Meter
    from .receiver import StreamReceiver
    from .reconcile import Dot
    from .sender import Parting, StreamSender
    from .store_ops import Op

    class LinkOwner(Protocol):
        """What the link asks of its node."""

        clock: "HybridClock"
        downlink: "Downlink"
        partitions: "Partitions"
        topics: "dict[str, TopicConfig]"
        memory_errors: int


REGREET_MS = 500
NO_MEMORY = "no memory"
NO_MEMORY_MS = 500  # for others to give some back
ROUND_TRIP_MS_TRUSTED = 2000
SHRINKS_MAX = 6
FRAMES_WORTH = 8  # of batches that compression may bring down to one frame


def make_link(node: "Node", config: "EdgeConfig", codecs: "Codecs", now: "Callable[[], int]", meter: "Meter | None") -> "Link":
    """The link of a node, with all the buffers that it will ever have."""
    raw_bytes = min(frames.RAW_BYTES_MAX // 2, (FRAMES_WORTH if codecs.compresses else 1) * config.frame_bytes_max)
    buf = bytearray(max(raw_bytes, config.log.batch_bytes) + frames.DATA_HEADER_BYTES)
    me = Identity(config.node_id, EDGE, node.state.storage_id, config.frame_bytes_max, len(buf), "streamline-edge " + VERSION)
    sync = config.sync
    backoff = Backoff(node.entropy, sync.retry.initial_ms, sync.retry.max_ms)
    cpu_ms = meter.cpu_ms if meter is not None else None
    pacing = Pacing(sync.bandwidth_limit, config.resources.max_cpu_percent or 0, cpu_ms, now())
    return Link(me, node, codecs, node.entropy, buf, backoff, sync, pacing, now)


class Link:
    """state: "offline" (no carrier), "waiting" (for a window or a condition), "connecting" (waiting to greet), "hello", "open" or "paused".
    allowed: whether more than what is urgent may be synced."""

    def __init__(
        self,
        me: "Identity",
        owner: "LinkOwner",
        codecs: "Codecs",
        entropy: "Entropy",
        read_buffer: bytearray,
        backoff: "Backoff",
        config: "SyncConfig",
        pacing: "Pacing",
        now: "Callable[[], int]",
    ) -> None:
        self.me = me
        self.session: "Session | None" = None
        self.paused = False
        self.pacing = pacing
        self._gate_open = True
        self._gate_why = ""
        self._ordered = False  # somebody wants it now: what waits goes, whatever the gate says
        self.why = "not connected yet"
        self.why_refused = ""
        self.hub: "str | None" = None
        self.counters = {"frames_out": 0, "frames_in": 0, "bytes_out": 0, "bytes_in": 0, "refused_frames": 0, "sessions": 0}
        self.stored_bytes_out = self.wire_bytes_out = 0  # of the sessions before this one
        self._owner = owner
        self._codecs = codecs
        self._entropy = entropy
        self._buffer = read_buffer
        self.read_bytes = len(read_buffer)
        self._config = config
        self._now = now
        self._backoff = backoff
        self._up = False
        self._boot = ""
        self._greet_at_ms = -1
        self.sync_at_ms = 0  # before this, an interval keeps data waiting
        self._busy = False
        self._shrinks = 0

    # The carrier

    @property
    def state(self) -> str:
        if not self._up:
            return "offline"
        if self.paused:
            return "paused"
        if self.session is None:
            return "connecting" if self._greets else "waiting"
        return "open" if self.session.state == OPEN else "hello"

    @property
    def allowed(self) -> bool:
        return self._gate_open or self._ordered

    @property
    def _greets(self) -> bool:
        return self.allowed or any([topic.urgent for topic in self._owner.topics.values()])

    @property
    def why_waiting(self) -> str:
        """What keeps all but urgent data here, or nothing."""
        return "" if self.allowed else self._gate_why

    def allow(self, gate_open: bool, why: str) -> None:
        """Whether windows and conditions let the node sync. What a session offers depends on it: so there is another one."""
        self._gate_why = why
        if gate_open != self._gate_open:
            before = self.allowed
            self._gate_open = gate_open
            self._allowed_changed(before)

    def _allowed_changed(self, before: bool) -> None:
        if self.allowed != before:
            self._renew(self._gate_why)

    def _renew(self, why: str) -> None:
        """Another session, soon: this one was opened for what holds no longer."""
        if self._up:
            if self.session is not None:
                self._drop(why)
            self._greet_at_ms = self._now()

    def reconfigured(self) -> None:
        """Its part of the configuration has changed, which shapes its sessions."""
        config = self._config
        self.pacing.bandwidth_limit = config.bandwidth_limit
        self._backoff.change(config.retry.initial_ms, config.retry.max_ms)
        self.sync_at_ms = min(self.sync_at_ms, self._now() + config.interval_secs * 1000)
        self._renew("the configuration has changed")

    def up(self) -> None:
        """The carrier works (both directions)."""
        self._up = True
        self.why = "connected to the broker, no answer from the hub yet"
        if self._greet_at_ms < 0:
            self._greet_at_ms = self._now()

    def down(self, reason: str) -> None:
        """The carrier is gone."""
        if self.session is not None and self.session.state == OPEN:
            self._shrinks = 0 if self.session.outlet.progress else min(SHRINKS_MAX, self._shrinks + 1)
        self._drop(reason)
        self._up = False
        self._greet_at_ms = -1

    def _drop(self, reason: str) -> None:
        if self.session is not None:
            self.stored_bytes_out += self.session.outlet.stored_bytes
            self.wire_bytes_out += self.session.outlet.wire_bytes
            self._owner.downlink.ended()
        self.session = None
        self.why = reason
        self._backoff.down(self._now())

    def hub_status(self, online: bool, boot: str) -> None:
        """The hub's retained birth or death: a new boot has forgotten our session."""
        if not online:
            self._drop("the hub is away")
            self._greet_at_ms = -1
            self._boot = ""
        elif boot != self._boot:
            known = self._boot
            if self.session is not None and self.session.peer is not None:  # the hub greets with its boot as its storage id
                known = "".join(["%02x" % b for b in self.session.peer.storage_id])
            self._boot = boot
            if known == boot:
                return
            if self._up and (self.session is None or known):
                self._drop("the hub is back")
                self._greet_at_ms = self._now() + jitter(self._entropy, REGREET_MS)

    # Frames

    def receive(self, data: "bytes | bytearray | memoryview") -> None:
        """Take a frame. One that is broken, of another session, or out of turn is counted and dropped."""
        self.counters["frames_in"] += 1
        self.counters["bytes_in"] += len(data)
        session = None
        try:
            frame = frames.decode(data)
            session = self.session
            if session is None or (frame.type != frames.WELCOME and frame.session != session.id):
                raise ProtocolError("a frame of another session")
            session.receive(frame, self._now())
            self._rest(session)
        except ProtocolError as error:
            self.counters["refused_frames"] += 1
            self.why_refused = str(error)
        except MemoryError:
            self._owner.memory_errors += 1
            self.counters["refused_frames"] += 1
            self.why_refused = "no memory for it"
            if session is not None:  # taken up half-way: the next session begins with what is stored on both sides
                self._out_of_memory()

    def _out_of_memory(self) -> None:
        """What the session believes of either side may be half true."""
        self._drop(NO_MEMORY)
        self._greet_at_ms = self._now() + max(NO_MEMORY_MS, self._backoff.wait_ms())

    def next_frame(self) -> "bytes | memoryview | None":
        """The next frame to carry, valid until the next call; None if nothing may leave now."""
        session = self.session
        if session is None or not self._up:
            return None
        now_ms = self._now()
        if self.pacing.cpu_wait_ms(now_ms):
            return None
        level = self._level(now_ms)
        try:
            frame = session.next_frame(level, now_ms)
        except MemoryError:
            self._owner.memory_errors += 1
            self._out_of_memory()
            return None
        if frame is None:
            return None
        if frame[0] == frames.DATA and level == ALL:
            self._busy = True
        self.pacing.spent(len(frame))
        self.counters["frames_out"] += 1
        self.counters["bytes_out"] += len(frame)
        return frame

    def _rest(self, session: Session) -> None:
        """All is delivered: what comes next waits for the interval."""
        if (self._busy or self._ordered) and not any([s.pending and not s.urgent for s in session.outlet.senders.values()]):
            if self._busy and self._config.interval_secs:
                self.sync_at_ms = self._now() + self._config.interval_secs * 1000
            self._busy = False
            if self._ordered:
                self._ordered = False
                self._allowed_changed(True)

    def _level(self, now_ms: int) -> int:
        """Which data may leave now."""
        if self.paused or self.pacing.wait_ms(now_ms):
            return NOTHING
        return ALL if self.allowed and now_ms >= self.sync_at_ms else URGENT

    def sync_now(self) -> None:
        """Do not wait for the interval, nor for a window or a condition, until all is delivered."""
        before = self.allowed
        self.sync_at_ms = 0
        self._ordered = True
        self._allowed_changed(before)
        if self._up and self.session is None:
            self._greet_at_ms = self._now()
        elif self.session is not None:
            self._rest(self.session)  # perhaps all is delivered already

    def tick(self) -> int:
        """Do what is due. Returns when to come again (monotonic ms), -1 if there is nothing to wait for."""
        now_ms = self._now()
        if self.session is None:
            if not self._up or self._greet_at_ms < 0 or not self._greets:
                return -1
            if now_ms < self._greet_at_ms:
                return self._greet_at_ms
            try:
                self._greet(now_ms)
            except MemoryError:
                self._owner.memory_errors += 1
                self._out_of_memory()
        session = self.session
        if session is None:
            return self._greet_at_ms
        deadline_ms = session.tick(now_ms)
        waiting = [t for t in (deadline_ms, self._greet_at_ms if self.session is None else -1) if t >= 0]
        wait_ms = self.pacing.cpu_wait_ms(now_ms)
        if wait_ms:
            waiting.append(now_ms + wait_ms)
        if session.state == OPEN and any([s.ready for s in session.outlet.senders.values()]):
            if now_ms < self.sync_at_ms:
                waiting.append(self.sync_at_ms)
            wait_ms = self.pacing.wait_ms(now_ms)
            if wait_ms:
                waiting.append(now_ms + wait_ms)
        return min(waiting) if waiting else -1

    def _greet(self, now_ms: int) -> None:
        session = Session(self.me, self, self._codecs, self._entropy, self._buffer)
        self._shape(session)
        for log in self._owner.partitions.offers():
            if self.allowed or self._owner.topics[log.stream.topic].urgent:
                self._offer(session, log)
        self.session = session
        self._greet_at_ms = -1
        session.greet(now_ms)

    def _shape(self, session: Session) -> None:
        """As the configuration has it."""
        soft = frames.FRAME_BYTES_MAX >> self._shrinks
        if self.pacing.bandwidth_limit:
            soft = min(soft, self.pacing.bandwidth_limit // 4)
        outlet = session.outlet
        outlet.soft_bytes_max = max(frames.FRAME_BYTES_MIN, soft)
        outlet.records_max = self._config.batch_size
        outlet.schedule = Schedule(self._config.backlog_percent)

    def _offer(self, session: Session, log: "Log") -> None:
        sender = session.outlet.senders[session.offer(log)]
        topic = self._owner.topics[log.stream.topic]
        sender.weight, sender.urgent = topic.priority, topic.urgent

    def offer(self, log: "Log") -> None:
        """A log that came up while a session is open."""
        if self.session is not None and (self.allowed or self._owner.topics[log.stream.topic].urgent):
            self._offer(self.session, log)

    # What the session reports

    def opened(self, session: Session) -> None:
        self.counters["sessions"] += 1
        self._backoff.up(self._now())
        self.why = ""
        if session.peer is not None:
            self.hub = session.peer.node_id
        if session.wall_ms is not None and 0 <= session.round_trip_ms < ROUND_TRIP_MS_TRUSTED:
            later_ms = self._owner.clock.learn(session.wall_ms + session.round_trip_ms // 2)
            if later_ms is not None:
                self._owner.partitions.mark_clock(later_ms)

    def ended(self, session: Session, code: str, text: str, away_ms: int) -> None:
        self._drop("%s: %s" % (code, text) if text else code)
        self._greet_at_ms = self._now() + away_ms + self._backoff.wait_ms()

    def forked(self, session: Session, sender: "StreamSender", parting: "Parting") -> None:
        self._owner.partitions.fork(sender.log, parting)

    def offered(self, session: Session, row: "Any") -> "StreamReceiver | None":
        topic = self._owner.topics.get(row[4])
        if not self.allowed and topic is not None and not topic.urgent:
            return None
        return self._owner.downlink.offered(session, row)

    def versions(self, session: Session, handle: int, batch: bytes, gone: "list[tuple[bytes, Dot]]") -> None:
        self._owner.downlink.versions(session.receivers[handle], batch, gone)

    def arrived(self, session: Session, receiver: "StreamReceiver", ops: "list[Op]") -> None:
        self._owner.downlink.arrived(receiver, ops)
