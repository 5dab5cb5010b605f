"""The bounds of one log.

Rule: every buffer and file of a log has one of these, and it does not change while the log is open. Only the budget and the commit
interval do.
"""

from .batch import BATCH_BYTES_MAX

CURSOR_INTERVAL_MS = 5000  # where nobody says otherwise; what it costs a flash: tools/bench_wear.py


class StorageBudget:
    """left: bytes that the logs of one node may write before the node takes stock again."""

    def __init__(self, left: int) -> None:
        self.left = left


class LogLimits:
    """segment_bytes, batch_bytes (512 to 65408), buffer_bytes: accepted but not yet durable; commit_interval_ms;
    producers_max; segment_records: beyond so many a segment ends, 0: any number. budget: shared by the logs of a node.
    cursor_interval_ms: how often a cursor that moved is saved, at most: it only decides what may be evicted after a restart."""

    def __init__(
        self,
        segment_bytes: int = 4 << 20,
        batch_bytes: int = BATCH_BYTES_MAX,
        buffer_bytes: int = 16 << 20,
        commit_interval_ms: int = 5,
        producers_max: int = 64,
        segment_records: int = 0,
        budget: "StorageBudget | None" = None,
        cursor_interval_ms: int = CURSOR_INTERVAL_MS,
    ) -> None:
        self.segment_bytes = segment_bytes
        self.batch_bytes = batch_bytes
        self.buffer_bytes = buffer_bytes
        self.commit_interval_ms = commit_interval_ms
        self.producers_max = producers_max
        self.segment_records = segment_records
        self.budget = budget or StorageBudget(1 << 62)
        self.cursor_interval_ms = cursor_interval_ms

    def cut_after(self, records: int) -> "LogLimits":
        """The same for logs whose segments end after so many records."""
        return LogLimits(
            self.segment_bytes, self.batch_bytes, self.buffer_bytes, self.commit_interval_ms, self.producers_max, records, self.budget,
            self.cursor_interval_ms,
        )  # fmt: skip
