"""What was promised of a keyed topic: every write that was acknowledged stands, or was superseded by one that had seen it.

Rule: a write is its dot (origin, epoch, offset), and knows every write that its writer had seen, however that came about; what stands of
some writes is what none of the others had seen. Never a clock; and what a record's extension says is read here by hand. Must not know:
segments, sessions, or how a table is folded.
"""

from promises import ACKED, GONE, MAYBE, OPEN, Violation

MARK_GONE = 2  # a control batch that names versions which stand no longer


class Write:
    """value: None where the key was deleted; seen: dots; known: it was once in the node's table, or written there; dropped: a
    deletion whose time is over at the hub."""

    def __init__(self, dot, key, value, seen):
        self.dot = dot
        self.key = key
        self.value = value
        self.seen = seen
        self.status = OPEN
        self.known = False
        self.dropped = False

    def copy(self):
        twin = Write(self.dot, self.key, self.value, self.seen)
        twin.status, twin.known, twin.dropped = self.status, self.known, self.dropped
        return twin


class KeyedPromises:
    def __init__(self, me):
        self.me = me
        self.writes = {}

    def copy(self):
        twin = KeyedPromises(self.me)
        twin.writes = {dot: self.writes[dot].copy() for dot in self.writes}
        return twin

    # What is done

    def offer(self, dot, key, value, siblings):
        """A write is about to be accepted, by a writer who is shown these dots of the key."""
        if dot in self.writes and self.writes[dot].status != GONE:
            raise Violation("keyed: %s is given away again" % (dot,))
        seen = set(siblings)
        for sibling in siblings:
            seen |= self.writes[sibling].seen
        for other in self.writes.values():
            if other.key == key and other.dot[:2] == dot[:2] and other.dot[2] < dot[2]:
                seen.add(other.dot)  # everybody has seen what he wrote before
        self.writes[dot] = Write(dot, key, value, seen)
        return self.writes[dot]

    def durable(self, epoch, offset):
        """The node has said that all it wrote below this offset is durable."""
        for write in self.writes.values():
            if write.status == OPEN and write.dot[:2] == (self.me, epoch) and write.dot[2] < offset:
                write.status, write.known = ACKED, True

    def committed(self, write):
        """The hub has said so of one of its own."""
        write.status = ACKED

    def note_dropped(self, at_hub, before):
        """at_hub, before: the dots that stand at the hub, and those that stood there a moment ago."""
        for dot in before:
            write = self.writes[dot]
            if dot not in at_hub and write.value is None and not any([dot in self.writes[other].seen for other in at_hub]):
                write.dropped = True

    def cut(self):
        """The power went, at the node and with it at the hub: what that had not committed it has forgotten."""
        for write in self.writes.values():
            if write.status == OPEN:
                write.status = MAYBE if write.dot[0] == self.me else GONE

    def came_back(self, dots):
        """dots: what the node's own logs hold after a cut. What nobody was told of is there now, or never."""
        for write in self.writes.values():
            if write.status == MAYBE:
                write.status = ACKED if write.dot in dots else GONE
                write.known = write.status == ACKED

    # What is read

    def standing(self, writes):
        """{key: dots} of what none of the others had seen."""
        found = {}
        for write in writes:
            if not any([write.dot in other.seen for other in writes if other.key == write.key]):
                found.setdefault(write.key, []).append(write.dot)
        found = {key: sorted([dot for dot in found[key] if not self.writes[dot].dropped]) for key in found}
        return {key: found[key] for key in found if found[key]}

    def shown(self, table, settled=True, back=False):
        """table: {key: [(dot, value)]} as the node shows it now. settled: all that was recovered is known to be durable again. back: a
        segment that had gone is back, and a younger one is not: what it says may show again until it is compared with the hub's."""
        for key in table:
            for dot, value in table[key]:
                write = self.writes.get(dot)
                if write is None or write.key != key or write.value != value:
                    raise Violation("keyed: %r shows %s, %r, which was never written" % (key, dot, value))
                if write.status == GONE:
                    raise Violation("keyed: %r shows %s, which did not come back once" % (key, dot))
                write.known = True
                if write.status == MAYBE:
                    write.status = ACKED
        dropped = set()
        for write in self.writes.values():
            if write.dropped:
                dropped |= write.seen | {write.dot}
        for write in self.writes.values() if settled else ():
            if write.status == ACKED and write.known:
                dots = [dot for dot, _ in table.get(write.key, ())]
                stands = write.dot in dots or any([write.dot in self.writes[dot].seen for dot in dots])
                if not stands and write.dot not in dropped:
                    raise Violation("keyed: %s of %r is gone, and nothing that stands has seen it: %s" % (write.dot, write.key, dots))
                for dot in dots if not back else ():
                    if dot in write.seen:
                        raise Violation("keyed: %s of %r is back, and %s had seen it" % (dot, write.key, write.dot))

    def check_drained(self, node, hub):
        """All has arrived. node, hub: {key: sorted dots}."""
        expected = self.standing([write for write in self.writes.values() if write.status == ACKED])
        for name, found in (("the node", node), ("the hub", hub)):
            for key in sorted(set(expected) | set(found)):
                if expected.get(key) != found.get(key):
                    raise Violation("keyed: %s shows %s of %r, it should be %s" % (name, found.get(key), key, expected.get(key)))


# An independent reading of what lies in the logs


def number(data, at):
    """LEB128."""
    n = shift = 0
    while True:
        n |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return n, at


def writer(data, at):
    """(origin, epoch), and where it ends."""
    size = data[at]
    return (bytes(data[at + 1 : at + 1 + size]).decode(), int.from_bytes(data[at + 1 + size : at + 5 + size], "little")), at + 5 + size


def version(extension, origin, epoch, offset):
    """What a record's extension says: (dot, {writer: next offset that was seen})."""
    at, dot = 2, (origin, epoch, offset)
    if extension[0] == 2:
        name, at = writer(extension, at)
        offset, at = number(extension, at)
        dot, at = name + (offset,), at + 8
    count, at = number(extension, at)
    context = {}
    for _ in range(count):
        name, at = writer(extension, at)
        context[name], at = number(extension, at)
    return dot, context


def fold(rows):
    """{key: sorted dots} of what stands. rows: ("version", key, dot, context) and ("gone", key, dot), in the order of reading."""
    met = {}
    for row in rows:
        versions = met.setdefault(row[1], {})
        if row[0] == "gone":
            for dot in versions:
                if dot[:2] == row[2][:2] and dot[2] <= row[2][2]:  # who wrote it had seen what he wrote before
                    versions[dot] = versions[dot][0], False
        else:
            versions[row[2]] = row[3], True
    found = {}
    for key in met:
        versions = met[key]
        dots = [dot for dot in versions if versions[dot][1] and not any([superseded(dot, by, versions[by][0]) for by in versions])]
        if dots:
            found[key] = sorted(dots)
    return found


def superseded(dot, by, context):
    if dot[:2] == by[:2]:
        return by[2] > dot[2]
    return context.get(dot[:2], 0) > dot[2]
