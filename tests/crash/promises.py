"""What was promised of the records of one (topic, partition): offered, accepted, acknowledged, evicted; and whether a reading keeps it.

Rule: an acknowledged record is shown at its offset for ever, or lies in a gap that really happened; what was not acknowledged comes
back as a prefix or not at all; nothing is shown twice, changed, out of order, or without ever having been offered. Must not know how
anything is stored: it is told what was done, and judges what was read. Nothing here comes from the core.
"""

OPEN = "open"  # offered in this life, not acknowledged
MAYBE = "maybe"  # offered in an earlier life that was cut before it was acknowledged: nobody has looked since
ACKED = "acked"  # durable as far as anybody was told, or shown
GONE = "gone"  # it did not come back, and must not any more

EVICTED = "evicted"
ROLLED_BACK = "rolled back"
CORRUPT = "corrupt"
TORN = ("torn", CORRUPT)  # names of a hole that a cut may leave among what was not acknowledged


class Violation(Exception):
    """A promise was broken."""


class View:
    """What was read of one epoch. records: [(offset, (value, key, headers, timestamp_ms))]; gaps: [(first, next, cause)]; next: where
    writing goes on."""

    def __init__(self, epoch, records, gaps, next_):
        self.epoch = epoch
        self.records = records
        self.gaps = gaps
        self.next = next_

    def cause_at(self, offset):
        for first, next_, cause in self.gaps:
            if first <= offset < next_:
                return cause
        return None


class Entry:
    """A record, as often as its producer may repeat it. order: of its last acceptance; places: every (epoch, offset) it may be shown at;
    evicted: its segment was given back; given_up: the cause of a gap that was noted over it."""

    def __init__(self, number, content, producer, sequence):
        self.number = number
        self.content = content
        self.producer = producer
        self.sequence = sequence
        self.order = 0
        self.status = OPEN
        self.places = []
        self.evicted = False
        self.given_up = None

    def copy(self):
        twin = Entry(self.number, self.content, self.producer, self.sequence)
        twin.order, twin.status, twin.places = self.order, self.status, list(self.places)
        twin.evicted, twin.given_up = self.evicted, self.given_up
        return twin

    @property
    def value(self):
        return self.content[0]


def value_of(name, number, size):
    """A value of at least `size` bytes that no other record has, and that names its own."""
    head = b"%s.%d|" % (name.encode(), number)
    return head + bytes([33 + (number * 7 + i) % 90 for i in range(max(0, size - len(head)))])


class Promises:
    def __init__(self, name):
        self.name = name
        self.entries = []
        self.confirmed = {}  # epoch: how far the other side has said to have it all
        self._taken = {}  # (epoch, offset): why nothing else may ever stand there
        self._orders = 0

    def copy(self):
        twin = Promises(self.name)
        twin.entries = [entry.copy() for entry in self.entries]
        twin.confirmed = dict(self.confirmed)
        twin._taken = dict(self._taken)
        twin._orders = self._orders
        return twin

    # What is done

    def offer(self, place, size, key=None, headers=(), timestamp_ms=None, producer=0, sequence=0):
        """A record is about to be accepted at `place`, the (epoch, offset) that comes next; returns its entry."""
        number = len(self.entries)
        entry = Entry(number, (value_of(self.name, number, size), key, headers, timestamp_ms), producer, sequence)
        self.entries.append(entry)
        self.offer_again(entry, place)
        return entry

    def offer_again(self, entry, place):
        """The producer of a record that did not come back repeats it."""
        if place in self._taken:
            raise Violation("%s: offset %d is given away again; there was %s" % (self.name, place[1], self._taken[place]))
        self._orders += 1
        entry.order, entry.status, entry.places = self._orders, OPEN, [place]

    def refuse(self, entry):
        """It was not accepted."""
        entry.status = GONE

    def accepted(self, entry, offset):
        expected = entry.places[-1][1]
        if expected != offset:
            raise Violation("%s: record %d is accepted at %d, not at the next offset %d" % (self.name, entry.number, offset, expected))

    def durable(self, epoch, offset):
        """All below `offset` was acknowledged."""
        for entry in self.entries:
            if entry.status == OPEN:
                for place in entry.places:
                    if place[0] == epoch and place[1] < offset:
                        self._acknowledge(entry, place)

    def _acknowledge(self, entry, place):
        entry.status = ACKED
        self._taken[place] = "record %d" % entry.number

    def answered(self, entry, offset):
        """A repeat was answered as stored at `offset`, -1 for somewhere."""
        if offset >= 0 and offset not in [place[1] for place in entry.places]:
            raise Violation("%s: the repeat of %d is said to be at %d, it is at %s" % (self.name, entry.number, offset, entry.places))
        entry.status = ACKED

    def evicting(self, epoch, first, next_):
        """[first, next) may go from now on."""
        for entry in self.entries:
            for place in entry.places:
                if place[0] == epoch and first <= place[1] < next_:
                    entry.evicted = True

    def give_up(self, epoch, first, next_, cause):
        """A gap is noted over [first, next)."""
        for entry in self.entries:
            if any([place[0] == epoch and first <= place[1] < next_ for place in entry.places]):
                entry.given_up = cause

    def confirm(self, epoch, offset):
        """The other side has, or counts as lost, all below `offset`."""
        self.confirmed[epoch] = max(offset, self.confirmed.get(epoch, 0))

    def forked(self, epoch, seal, successor):
        """What `epoch` held from `seal` on may stand in `successor` instead."""
        for entry in self.entries:
            for place in list(entry.places):
                if place[0] == epoch and place[1] >= seal:
                    entry.places.append((successor, place[1] - seal))

    def cut(self):
        """The power went."""
        for entry in self.entries:
            if entry.status == OPEN:
                entry.status = MAYBE

    # What producers may expect

    def sequences(self, producer):
        """(last acknowledged, last offered), -1 for none."""
        acked = offered = -1
        for entry in self.entries:
            if entry.producer == producer:
                offered = max(offered, entry.sequence)
                if entry.status == ACKED:
                    acked = max(acked, entry.sequence)
        return acked, offered

    def producers(self):
        return sorted({entry.producer for entry in self.entries if entry.producer})

    def check_producer(self, producer, last):
        acked, offered = self.sequences(producer)
        if not acked <= last <= offered:
            raise Violation("%s: producer %d is at %d; acknowledged %d, offered %d" % (self.name, producer, last, acked, offered))

    # What is read

    def find(self, content):
        """The entry that a record read is; Violation if none ever was."""
        entry = self._named(content[0])
        if entry.content != content:
            raise Violation("%s: record %d is changed: %r, it was %r" % (self.name, entry.number, content, entry.content))
        return entry

    def _named(self, value):
        name, _, number = value[: max(0, value.find(b"|"))].partition(b".")
        if name != self.name.encode() or not number.isdigit() or int(number) >= len(self.entries):
            raise Violation("%s: %r was never written" % (self.name, value[:40]))
        return self.entries[int(number)]

    def show(self, epoch, offset, content):
        """A record was read below the durable end. It counts as acknowledged from then on. Returns its entry."""
        entry, place = self.find(content), (epoch, offset)
        if place not in entry.places:
            raise Violation("%s: record %d is shown at %s, it belongs to %s" % (self.name, entry.number, place, entry.places))
        if entry.status == GONE:
            raise Violation("%s: record %d did not come back once, and is shown now at %s" % (self.name, entry.number, place))
        if self._taken.get(place, "record %d" % entry.number) != "record %d" % entry.number:
            raise Violation("%s: record %d is shown at %s; there was %s" % (self.name, entry.number, place, self._taken[place]))
        return entry

    def shown(self, views):
        """Records that a consumer was given while not all is settled: they must be there for ever."""
        for view in views:
            for offset, content in view.records:
                entry = self.show(view.epoch, offset, content)
                if entry.status != ACKED:
                    self._acknowledge(entry, (view.epoch, offset))

    def check(self, views):
        """Judge a reading of all epochs, oldest first, of a log that has settled. What did not come back by now is gone."""
        seen = {}
        order = last_maybe = -1
        for view in views:
            for offset, content in view.records:
                entry = self.show(view.epoch, offset, content)
                if entry.number in seen:
                    places = seen[entry.number], (view.epoch, offset)
                    raise Violation("%s: record %d is shown twice: %s" % (self.name, entry.number, places))
                if entry.order <= order:
                    raise Violation("%s: record %d at %d comes after a later one" % (self.name, entry.number, offset))
                order = entry.order
                seen[entry.number] = (view.epoch, offset)
                if entry.status == MAYBE:
                    last_maybe = entry.order
        came_back = {}
        for entry in self.entries:
            if entry.producer and entry.number in seen:
                came_back[entry.producer] = max(entry.sequence, came_back.get(entry.producer, -1))
        for entry in self.entries:
            if entry.number not in seen:
                self._judge_missing(entry, views, entry.order < last_maybe, came_back.get(entry.producer, -1))
        self._settle(views, seen)

    def _judge_missing(self, entry, views, something_later_came_back, sequence_back):
        """sequence_back: the last one of its producer that came back."""
        cause, place = None, None
        for view in views:
            for at in entry.places:
                if at[0] == view.epoch and cause is None:
                    cause, place = view.cause_at(at[1]), at
        if entry.status in (ACKED, OPEN):  # OPEN: it was asked for, and all has settled
            if cause == EVICTED and entry.evicted or cause is not None and cause == entry.given_up:
                return
            if entry.evicted and place[1] < self.confirmed.get(place[0], 0) and cause in (ROLLED_BACK, CORRUPT):
                return  # nobody misses it. CORRUPT: an older segment, removed before it, came back after a cut
            raise Violation("%s: acknowledged record %d of %s is missing: %s" % (self.name, entry.number, entry.places, cause))
        if cause == EVICTED and entry.evicted:
            return  # it came back, and its segment was given back at once
        if entry.status == MAYBE and entry.sequence < sequence_back:
            told = self.name, entry.number, sequence_back, cause
            raise Violation("%s: record %d is gone, its producer finds %d stored and will not send it again (%s)" % told)
        if entry.status == MAYBE and something_later_came_back and cause not in TORN:
            raise Violation("%s: record %d of %s is a hole (%s) below what came back" % (self.name, entry.number, entry.places, cause))

    def _settle(self, views, seen):
        for entry in self.entries:
            if entry.number in seen:
                entry.places = [seen[entry.number]]
                self._acknowledge(entry, seen[entry.number])
            elif entry.status == MAYBE:
                entry.status = GONE
        for view in views:
            for first, next_, cause in view.gaps:
                if cause in TORN and next_ - first < 1 << 16:
                    for offset in range(first, next_):
                        self._taken.setdefault((view.epoch, offset), "a gap (%s)" % cause)
            for epoch, offset in self._taken:
                if epoch == view.epoch and offset >= view.next >= 0:
                    raise Violation("%s: writing would go on at %d, and %d is taken" % (self.name, view.next, offset))

    def check_other_side(self, epoch, rows, gaps, drained):
        """rows: {offset: value} and gaps: [(first, next, cause)] that the other side holds of an epoch; drained: it has all."""
        for offset in sorted(rows):
            entry = self._named(rows[offset])
            if entry.value != rows[offset] or (epoch, offset) not in entry.places:
                raise Violation("%s: the other side has %r at %d" % (self.name, rows[offset][:20], offset))
            if entry.status != ACKED:
                raise Violation("%s: the other side has record %d, which was never durable" % (self.name, entry.number))
        if not drained:
            return
        view = View(epoch, (), gaps, -1)
        for entry in self.entries:
            for place in entry.places:
                if entry.status == ACKED and place[0] == epoch and place[1] not in rows:
                    cause = view.cause_at(place[1])
                    if not (cause == EVICTED and entry.evicted or cause is not None and cause == entry.given_up):
                        raise Violation("%s: the other side never got record %d: %s" % (self.name, entry.number, cause))
