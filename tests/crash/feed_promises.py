"""What was promised of a feed without keys: who reads it is shown all that the cloud has committed, once and in its order.

Rule: a reader is at one cloud offset; what it is shown next has that offset, and is what the cloud once gave out under it. Only a rewind
may bring it back, and no further than where that was asked for. Nothing here comes from the core. Must not know: logs, epochs or sessions.
"""

from promises import Violation


class FeedPromises:
    """given_out: {cloud offset: every value that the store ever held there}; head: where the feed ends now."""

    def __init__(self):
        self.given_out = {}
        self.timeline = []  # what the store holds now, by cloud offset
        self.read_to = 0  # where the reader that goes on across cuts is
        self.rewound_to = -1  # the lowest offset that it may be brought back to; -1: to none

    def copy(self):
        twin = FeedPromises()
        twin.given_out = {offset: list(self.given_out[offset]) for offset in self.given_out}
        twin.timeline, twin.read_to, twin.rewound_to = list(self.timeline), self.read_to, self.rewound_to
        return twin

    def committed(self, value):
        """The store has one more."""
        self.given_out.setdefault(len(self.timeline), []).append(value)
        self.timeline.append(value)

    def rolled_back(self, offset):
        """The store is that of a backup, which ended at `offset`."""
        del self.timeline[offset:]
        self.rewind(min(offset, self.read_to))

    def rewind(self, offset):
        """What the node holds from `offset` on is void, or will be asked for again."""
        if offset < self.read_to:
            self.rewound_to = offset if self.rewound_to < 0 else min(offset, self.rewound_to)

    def shown(self, offset, value):
        """The reader that goes on was shown a record."""
        if offset < self.read_to and self.rewound_to >= 0 and offset >= self.rewound_to:
            self.read_to = offset
        if offset != self.read_to:
            raise Violation("feed: a reader at offset %d was shown %d" % (self.read_to, offset))
        if value not in self.given_out.get(offset, ()):
            raise Violation("feed: %r is shown at offset %d, which never was %r" % (value, offset, self.given_out.get(offset)))
        self.read_to = offset + 1

    def check(self, rows, drained):
        """A reading from the beginning: [(offset, value)]. drained: the node has all."""
        for i in range(len(rows)):
            offset, value = rows[i]
            if offset != i or value not in self.given_out.get(offset, ()):
                raise Violation("feed: read from the beginning, %r comes at offset %d, as number %d" % (value, offset, i))
        if drained and [value for _, value in rows] != self.timeline:
            raise Violation("feed: all has arrived, and %d records are read of %d" % (len(rows), len(self.timeline)))
        if self.rewound_to < 0 and len(rows) < self.read_to:
            raise Violation("feed: %d records are read, and %d were shown" % (len(rows), self.read_to))
