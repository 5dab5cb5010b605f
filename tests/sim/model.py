"""What was written, what the writers were told, and what truly happened to it: the truth that checks are made against.

Rule: it learns from the applications, from the faults, and from bytes that it reads by itself; never from what the core says of its state.
A record is known by its content. Must not know: how anything is stored or sent.
"""

from bytes_on_disk import batches_anywhere
from keyed_model import KeyedModel
from streamline_core.lineage import ENTRIES_MAX


class Written:
    """One content. acked: its writer was told that it is durable."""

    def __init__(self, machine, topic):
        self.name = machine.name
        self.topic = topic
        self.accepted = False
        self.acked = False


class Model:
    def __init__(self, fleet):
        self._fleet = fleet
        self.written = {}  # content: Written
        self.told_at = {}  # (stream key, offset): contents that were acknowledged there (several: several disks)
        self.told_of = {}  # content: [(stream key, offset)] where it was acknowledged
        self.removed_of = {}  # content: [(stream key, offset)] in segments that the core has removed
        self.removed_ranges = {}  # stream key: [(first, next)] of what was in removed segments
        self.damaged_of = {}  # content: [(stream key, offset)] in batches that rotted
        self.excused = {}  # content: why nobody can be asked for it
        self.maybe_twice = {}  # contents that a producer repeated to a disk that cannot know the first one
        self.happened = {}  # what befell: {(kind, node name): how often}
        self.keyed = KeyedModel(fleet)
        self._counts = {}

    # The applications' side

    def fresh(self, machine, topic, size):
        """(content, value) of a new record that is written once."""
        n = self._counts[machine.number] = self._counts.get(machine.number, 0) + 1
        who = "h" if machine.number is None else "m%d" % machine.number
        return self._new("%s.%d" % (who, n), machine, topic, size)

    def repeatable(self, machine, topic, producer, sequence, size):
        """(content, value) of a producer's record: the same each time."""
        return self._new(self.content_of(producer, sequence), machine, topic, 10 + sequence % 40)

    def content_of(self, producer, sequence):
        return "p%d.%d" % (producer, sequence)

    def _new(self, content, machine, topic, size):
        if content not in self.written:
            self.written[content] = Written(machine, topic)
        value = content.encode() + b"|"
        return content, value + b"x" * max(0, size - len(value))

    def tried(self, content):
        """It is being written: whatever comes of it, it may be there from now on."""
        self.written[content].accepted = True

    def refused(self, content):
        """Its writer was told that nothing was stored."""
        self.written[content].accepted = False

    def told(self, stream, offset, content):
        """`offset` of a stream was acknowledged as holding this content."""
        contents = self.told_at.setdefault((stream, offset), [])
        if content not in contents:
            if contents and not self.disk_changed(stream[0]) and not self.did("rot", stream[0]):
                self._fleet.violation("offset %d of %r was acknowledged as %s and as %s" % (offset, stream, contents[0], content))
            contents.append(content)
        places = self.told_of.setdefault(content, [])
        if (stream, offset) not in places:
            places.append((stream, offset))

    def acknowledged(self, content):
        self.written[content].acked = True

    def confirmed(self, stream, offset, content):
        """Its writer was told that the cloud has committed it, or knows that it is lost."""
        store = self._fleet.cloud.store
        lost = [row for row in store.ever_lost.get(stream, ()) if row[0] <= offset < row[1]]
        if content not in store.ever and not lost and not self.did("rot", stream[0]):
            self._fleet.violation("%s at offset %d of %r was said to be committed, and is not" % (content, offset, stream))

    # The hub's side

    def arrived(self, stream, offset, content):
        """The hub's store has this content at this offset now."""
        written = self.written.get(content)
        if written is None or not written.accepted:
            self._fleet.violation("the hub stored %r, which nobody wrote" % content)
        if written.topic != stream[1] or written.name != stream[0]:
            self._fleet.violation("the hub stored %s of %s %s in %r" % (content, written.name, written.topic, stream))
        told = self.told_at.get((stream, offset))
        if told is not None and content not in told and not self.disk_changed(stream[0]):
            where = content, offset, stream, told[0]
            self._fleet.violation("the hub stored %s at offset %d of %r, which was acknowledged as %s" % where)
        places = self._fleet.cloud.store.where[content]
        if len(places) > 1 and content not in self.maybe_twice and not self._memory_is_short(stream[0]):
            self._fleet.violation("the hub stored %s twice: %r" % (content, places))

    # The disks' side

    def removed(self, machine, name, content):
        """The core removed a file."""
        stream = stream_of(name)
        if stream is None:
            return
        batches = batches_anywhere(content)
        for batch in batches:
            for offset, key in batch.contents():
                self.removed_of.setdefault(key, []).append((stream, offset))
        if batches:
            self.removed_ranges.setdefault(stream, []).append((batches[0].base, batches[-1].next))

    def rotted(self, machine, name, at):
        """A bit of byte `at` of a segment is about to turn over."""
        self.befell("rot", machine)
        stream = stream_of(name)
        batches = batches_anywhere(machine.disk.files[name].data)
        for batch in batches:
            if batch.at <= at < batch.at + batch.length:
                for hurt in [batch] + _synced_with(batch, batches):
                    for offset, key in hurt.contents():
                        self.damaged_of.setdefault(key, []).append((stream, offset))

    def power_went(self, machine):
        self.befell("power", machine)

    def disk_lost(self, machine, files, owed):
        """The machine gets another disk with these files, which holds what is in `owed`. What only the old one had is nobody's fault."""
        self.befell("disk", machine)
        for content in machine.app.owed:
            if content not in owed:
                self.excused[content] = "its disk is gone"
        for content in machine.app.unacknowledged():
            self.maybe_twice[content] = True
        self._note_moved(machine, files)
        machine.app.begin_anew(owed)
        for other in self._fleet.machines:
            if other is not machine and not other.retired:
                for content in other.app.owed:
                    self.excused.pop(content, None)

    def rolled_back(self, backup_where):
        """The hub's store is restored from a backup which has these contents. What the hub wrote after it, nobody can be asked for; nodes
        may still hold it, and then it comes back."""
        self.befell("rollback", None)
        for content in self._fleet.cloud.store.where:
            if content not in backup_where and self.written[content].name == self._fleet.cloud.name:
                self.excused[content] = "the hub's store was rolled back"

    def cloned(self, machine, files):
        """A second machine starts with these files. What a fork still has to move is on both disks then, and each moves it to an epoch of
        its own."""
        if self.disk_changed(machine.name) or self.did("rot", machine.name):
            for content, _ in _contents(files):
                if content not in self._fleet.cloud.store.where:
                    self.maybe_twice[content] = True
        self.befell("clone", machine)

    def _note_moved(self, machine, files):
        """An image older than a fork brings back what the fork has moved to another epoch: that may arrive under both."""
        epochs = {}
        for other in self._fleet.machines:
            if other.name == machine.name:
                for content, stream in _contents({name: other.disk.files[name].data for name in other.disk.files}):
                    epochs.setdefault(content, {})[stream] = True
        for content, stream in _contents(files):
            places = self._fleet.cloud.store.where.get(content, [])
            if any([key != stream for key in epochs.get(content, ())]) or any([key != stream for key, _ in places]):
                self.maybe_twice[content] = True

    def befell(self, kind, machine):
        key = (kind, machine.name if machine is not None else "")
        self.happened[key] = self.happened.get(key, 0) + 1

    def did(self, kind, name=""):
        return self.happened.get((kind, name), 0) > 0

    def _memory_is_short(self, name):
        """A lineage is 32 openings long: two sides with less in common than that may send all again rather than lose some of it."""
        boots = sum([machine.boots for machine in self._fleet.machines if machine.name == name])
        return boots > ENTRIES_MAX and (self.did("rollback") or self.disk_changed(name))

    def may_forget(self, name):
        """Whether a disk of this node may not know what it once acknowledged."""
        return self.disk_changed(name) or self.did("rot", name) or self.did("rot slot", name)

    def disk_changed(self, name):
        """Whether several disks have held streams of this node."""
        return self.did("disk", name) or self.did("clone", name)


def _synced_with(batch, batches):
    """The batches behind one of the last sync group: if that rots, nobody can tell it from a torn one, after which they do not count."""
    later = [other for other in batches if other.term == batch.term and other.base > batch.base]
    return [] if any([other.base - other.behind > batch.base for other in later]) else later


def _contents(files):
    """[(content, stream key)] of all that lies in segments."""
    found = []
    for name in sorted(files):
        stream = stream_of(name)
        if stream is not None:
            for batch in batches_anywhere(files[name]):
                found += [(content, stream) for _, content in batch.contents()]
    return found


def stream_of(name):
    """(origin, topic, partition, epoch) of a segment's path; None for other files, and for copies of what others wrote."""
    parts = name.split("/")
    if len(parts) != 3 or not parts[2].endswith(".seg") or parts[1][0] == "_":
        return None
    topic, _, partition = parts[0].rpartition("-")
    origin, _, epoch = parts[1].rpartition("-")
    return origin, topic, int(partition), int(epoch, 16)
