"""What a log shows of itself: every record and every gap below its durable end, as plain values.

Rule: only what any reader may use is used (LogReader, the batch's records); a piece must begin where the one before it ended. Judges
nothing else.
"""

from promises import View, Violation
from streamline_core.batch import batches, records
from streamline_core.log_reader import LogReader

_buf = bytearray(4096)


def view(log):
    """A View of one log, from offset 0 to its durable end."""
    reader = LogReader(log, 0)
    found, gaps = [], []
    while True:
        at = reader.offset
        piece = reader.read(_buf, len(_buf))
        if piece is None:
            break
        if piece.first != at or not at < piece.next == reader.offset:
            raise Violation("a piece of [%d, %d) was read at %d" % (piece.first, piece.next, at))
        if piece.cause:
            gaps.append((piece.first, piece.next, piece.cause))
            continue
        for header, batch in batches(memoryview(_buf)[: piece.bytes]):
            for record in records(header, batch):
                if record.offset >= at:
                    headers = tuple([(name, bytes(content)) for name, content in record.headers])
                    found.append((record.offset, (record.value, record.key, headers, record.timestamp_ms)))
    if reader.offset != log.durable and reader.offset < log.durable:
        raise Violation("reading ends at %d, before the durable end %d" % (reader.offset, log.durable))
    return View(log.stream.epoch, found, gaps, -1 if log.sealed else log.next)
