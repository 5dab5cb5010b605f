"""Answers that wait: until records are on the disk, or at the cloud.

Rule: each is answered once, with the offset or with why there is none; looking costs no more than a comparison. Must not know: sockets.
"""

from streamline_core.errors import StorageFull, StreamlineError


class Wait:
    """id: of the request; rows: [log, first offset, next offset] of what it stored; ack: one of control_records.ACKS; said: what its answer
    says beside the offset; whose: who is refused from then on if it fails, or None."""

    def __init__(self, id, rows, ack, said, whose=None):
        self.id = id
        self.said = said
        self.whose = whose
        self._cloud = ack == "cloud"
        self._rows = [] if ack == "buffered" else [[log, log.term, first, end] for log, first, end in rows]
        self._first = min([row[1] for row in rows])

    def over(self):
        """Whether all has got so far. Raises StorageFull, or StreamlineError where it was lost before the cloud had it."""
        for row in self._rows[:]:
            log, term, first, end = row
            if end <= (log.acked if self._cloud else log.durable):
                if self._cloud:
                    self._check_lost(log, first, end)
                self._rows.remove(row)
                continue
            if self._cloud:
                self._check_lost(log, first, end)
            if log.successor is not None:  # a fork has sealed the log: what lay beyond lies in another one now
                moved = log.moved(end - 1)
                if moved is not None:
                    at = max(0, moved[1] + 1 - (end - first))
                    row[:] = [moved[0], moved[0].term, at, moved[1] + 1]
                    self._first = at
            elif (log.failure is not None and not self._cloud) or log.term != term:
                if self._cloud and log.failure is None and end <= log.written:
                    row[1] = log.term  # reopened beneath it, and it is there
                    continue
                if self._cloud and log.failure is not None:
                    continue
                raise StorageFull("%s: not stored: %s; produce it again" % (log.folder, log.failure or "it was reopened"))
        return not self._rows

    def _check_lost(self, log, first, end):
        for row in log.state.gaps.rows:
            if row[0] < end and row[1] > first:
                text = "record %d of %s was lost before the cloud had it: %s"
                raise StreamlineError(text % (max(first, row[0]), log.stream.topic, row[2]))

    def answer(self):
        said = {"id": self.id, "ok": True, "offset": self._first}
        said.update(self.said)
        return said
