"""What a session sends of its streams: turns them into DATA and GAP frames of the right size, in the order that the schedule says.

Rule: whole batches of one stream, compressed together, as many as fit the frame; the frame is as small as a slow link needs it to be.
Knows nothing of greetings or of what the other side answers.
"""

from . import frames
from .codec import NONE
from .lineage import term_at
from .schedule import ALL, Schedule
from .sender import StreamSender

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .codec import Codec
    from .hub_feeds import FeedSource
    from .log import Log

KEEPALIVE_MS = 30000
RATIO_MAX = 64


class Outlet:
    """senders: by handle. buf: where frames are built. frame_bytes_max: agreed with the peer. soft_bytes_max: what the link bears."""

    def __init__(self, buf: bytearray) -> None:
        self.senders: "dict[int, StreamSender]" = {}
        self.frame_bytes_max = frames.FRAME_BYTES_MAX
        self.soft_bytes_max = frames.FRAME_BYTES_MAX
        self.wire_bytes = 0  # of DATA frames
        self.stored_bytes = 0  # what was in them
        self.rate_bytes_s = 0  # a lower bound of what the link bears, 0: not measured
        self.progress = False
        self.records_max = 0  # in a frame, unless a single batch has more; 0: any number
        self.schedule = Schedule()
        self.shortens = False  # whether the peer takes differences
        self._raw_bytes_max = len(buf) - frames.DATA_HEADER_BYTES
        self._buf = buf
        self._codec: "Codec" = NONE
        self._ratio = 2.0
        self._probe_ms = -1
        self._probe_bytes = 0

    def agree(self, codec: "Codec", frame_bytes_max: int, raw_bytes_max: int) -> None:
        self._codec = codec
        self.frame_bytes_max = frame_bytes_max
        self._raw_bytes_max = min(len(self._buf) - frames.DATA_HEADER_BYTES, raw_bytes_max)

    def add(self, log: "Log | FeedSource") -> StreamSender:
        handle = len(self.senders)
        self.senders[handle] = StreamSender(handle, log)
        return self.senders[handle]

    @property
    def codec_name(self) -> str:
        return self._codec.name

    def confirmed(self, now_ms: int) -> None:
        """The other side confirmed something new."""
        self.progress = True
        if self._probe_ms >= 0:
            self.rate_bytes_s = self._probe_bytes * 1000 // max(1, now_ms - self._probe_ms)
            self._probe_ms = -1

    def _limit(self) -> int:
        limit = min(self.frame_bytes_max, self.soft_bytes_max)
        if self.rate_bytes_s:
            limit = min(limit, max(frames.FRAME_BYTES_MIN, self.rate_bytes_s * KEEPALIVE_MS // 8000))
        return limit

    def next_frame(self, session: bytes, now_ms: int, allowed: int = ALL) -> "bytes | memoryview | None":
        """The next DATA or GAP frame, or None if no stream has anything that may go. allowed: see `Schedule.next`."""
        schedule, senders = self.schedule, self.senders
        tried: "tuple[StreamSender, ...]" = ()
        while True:
            sender = schedule.next(senders, allowed, tried)
            if sender is None:
                return None
            lane = sender.lane
            try:
                frame = self._frame(sender, session, now_ms)
            except MemoryError:
                sender.put_back()
                raise
            except OSError as error:  # the node opens the log again when its storage can be read
                sender.log.failure = error
                continue
            if frame is not None:
                schedule.served(sender, lane, len(frame), senders)
                return frame
            tried += (sender,)

    def _frame(self, sender: StreamSender, session: bytes, now_ms: int) -> "bytes | memoryview | None":
        limit = self._limit() - frames.DATA_HEADER_BYTES
        view = memoryview(self._buf)[frames.DATA_HEADER_BYTES :]
        wanted = min(self._raw_bytes_max, int(limit * self._ratio))
        while True:
            first = sender.sent
            piece = sender.take(view, wanted, self.records_max)
            if piece is None:
                return None
            if piece.cause:
                term = term_at(sender.log.state.lineage, piece.next - 1)
                return frames.encode(frames.GAP, session, (sender.handle, piece.first, piece.next, piece.cause, term))
            raw = view[: piece.bytes]
            shortened = sender.shorten(raw, piece) if self.shortens else None
            flags, raw_bytes = (0, piece.bytes) if shortened is None else (frames.SHORTENED, len(shortened))
            codec = self._codec
            payload = codec.compress(raw if shortened is None else shortened)
            if len(payload) >= raw_bytes:
                codec, payload = NONE, raw if shortened is None else shortened
            self._ratio = min(RATIO_MAX, piece.bytes * 0.95 / len(payload))
            if len(payload) <= limit:
                break
            if piece.batches == 1:  # a link that wants small frames bears a batch all the same; a peer's buffer does not
                if len(payload) <= self.frame_bytes_max - frames.DATA_HEADER_BYTES:
                    break
                sender.cut_up(raw, self.frame_bytes_max - frames.DATA_HEADER_BYTES)
                continue
            sender.put_back()
            wanted = min(piece.bytes - 1, int(limit * self._ratio))
        size = frames.DATA_HEADER_BYTES + len(payload)
        self.wire_bytes += size
        self.stored_bytes += piece.bytes
        if self._probe_ms < 0:
            self._probe_ms, self._probe_bytes = now_ms, size
        frames.pack_data_header(self._buf, session, sender.handle, codec.id | flags, raw_bytes, first)
        if codec is NONE and not flags:
            return memoryview(self._buf)[:size]
        return b"".join((bytes(memoryview(self._buf)[: frames.DATA_HEADER_BYTES]), payload))
