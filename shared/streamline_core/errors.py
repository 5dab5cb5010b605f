"""The errors of the core: who is at fault decides what happens next.

Rule: a handful of classes, one per thing a caller can do about it. Expected outcomes are return values, not errors.
Must not know: who raises them.
"""


class StreamlineError(Exception):
    """The base of every error that the core raises on purpose."""


class ProtocolError(StreamlineError):
    """The peer is at fault: drop the frame or the session."""


class UsageError(StreamlineError):
    """We are at fault: a bug or a wrong setting on this side. Crash loudly."""


class CorruptRecord(StreamlineError):
    """The disk is at fault: note a gap and carry on."""


class StorageFull(StreamlineError):
    """There is no room in storage: backpressure."""


class QueueFull(StreamlineError):
    """A queue is at its bound: backpressure."""


class BacklogFull(QueueFull):
    """More is owed to the cloud than may be. waits: whether who produces is to wait for the cloud; fits: whether that could help: fewer
    records at once might."""

    def __init__(self, text: str, waits: bool, fits: bool) -> None:
        super().__init__(text)
        self.waits = waits
        self.fits = fits


# What a handler names that may run where memory is short: MicroPython would make the tuple after `except` there and then.
NOT_STORED = (StorageFull, OSError, MemoryError)
NO_ROOM = (QueueFull, StorageFull)
NOT_TAKEN = NO_ROOM + (MemoryError,)
