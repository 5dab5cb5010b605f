"""What a fork does to versions: they get new names, and what they had seen of one another is called by these.

Rule: offsets stay in step, so that whoever waits for one finds it; a version that does not fit any more is a gap, never another one. Knows
nothing of epochs beyond the two.
"""

from .batch import HEADER_BYTES, parse_header
from .extension import moved
from .gaps import REFUSED
from .recut import recut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .batch import Header
    from .log import Log
    from .ports import Buffer
    from .record import Record


def move_versions(log: "Log", seal: int, header: "Header", batch: "Buffer", successor: "Log") -> None:
    """Append a batch of a keyed log to its successor, where all from offset `seal` on goes. Raises StorageFull, OSError."""

    def change(record: "Record") -> None:
        record.extension = moved(record.extension, log.stream.origin, log.stream.epoch, seal, successor.stream.epoch)

    for first, next_, part in recut(header, batch, log.limits.batch_bytes, 0, change):
        again = parse_header(part) if part is not None else None
        if part is None or again is None:
            successor.append_gap(next_ - first, REFUSED)  # `Log.append_full` leaves room for what this may add
        else:
            successor.append_again(again, part[HEADER_BYTES:])
