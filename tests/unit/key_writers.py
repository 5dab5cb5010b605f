"""Writers of one key, each with a replica of its own, that hear of each other now and then: what joins are tried on.

Rule: what each of them had seen is noted by itself. Must not know: how versions are stored.
"""

from streamline_core.version import Version, join, seen


class KeyWriters:
    """Replicas of one key that write on top of what they hold, and hear of each other now and then."""

    def __init__(self, random, replicas):
        self.random = random
        self.held = [[] for _ in range(replicas)]
        self.next = [0] * replicas
        self.written = []

    def write(self, i):
        context = seen(self.held[i])
        self.next[i] += 1 + self.random.below(3)  # other keys take offsets, too
        side = "cloud" if i == 0 else "edge"
        stamp = self.random.below(50)  # clocks say anything
        value = b"%d" % len(self.written) if self.random.below(4) else None
        version = Version("n%d" % i, 1, self.next[i] - 1, side, stamp, self.random.below(2) == 1, context, value)
        self.written.append((version, list(self.held[i])))
        self.held[i] = join(self.held[i], [version])
        return version

    def hear(self, i, j):
        self.held[i] = join(self.held[i], self.held[j])

    def run(self, steps):
        n = len(self.held)
        for _ in range(steps):
            if self.random.below(2):
                self.write(self.random.below(n))
            else:
                self.hear(self.random.below(n), self.random.below(n))
