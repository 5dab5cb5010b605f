"""What was written to keyed topics, and what each writer had been shown before: the truth that replicas are checked against.

Rule: a write is known by its content, never by its dot: a fork gives it another one. What a writer had seen is what the public API of its
replica showed just before, and what it wrote before itself. Must not know: how versions are stored, joined or named.
"""

from bytes_on_disk import Extension, batches_anywhere


class Write:
    """One write of a key. shown: contents that stood for its writer; past: all that these supersede, and they; own: what the same disk had
    taken of this key before; value: None for a deletion."""

    def __init__(self, name, key, value, shown, past, own):
        self.name = name
        self.key = key
        self.value = value
        self.shown = shown
        self.past = past
        self.own = own


class KeyedModel:
    def __init__(self, fleet):
        self._fleet = fleet
        self.writes = {}  # {content: Write}

    def fresh(self, writer, topic, key, deleted, size, shown, own):
        """(content, value) of a new write."""
        content, value = self._fleet.model.fresh(writer, topic, size)
        past = {}
        for one in list(shown) + own:
            past[one] = True
            past.update(self.writes[one].past)
        self.writes[content] = Write(writer.name, key, None if deleted else value, shown, past, own)
        return content, None if deleted else value

    def shown_by(self, machine, topic, key):
        """Contents that stand for a machine. Raises OSError where its disk cannot be read."""
        versions, _ = machine.node.tables.resolve(topic, key)
        found, on_disk = [], None
        for version in versions:
            if version.value is not None:
                content = bytes(version.value).split(b"|")[0].decode()
            else:
                on_disk = on_disk or contents_on_disk(machine, topic)
                content = on_disk.get((version.dot, key))
                if content is None and self._fleet.model.may_forget(machine.name):
                    raise OSError("the record of a deletion has rotted, and who looks at bytes cannot tell which it was")
            self._check(machine, key, version, content)
            found.append(content)
        return found

    def shown_by_hub(self, topic, partition, key):
        """Contents that stand for the hub, or will once its store has committed what is on its way there."""
        hub, store = self._fleet.cloud.hub, self._fleet.cloud.store
        found = []
        for version in hub.table.siblings((topic, partition, key)):
            content = store.content_at(version.dot, topic, partition, hub.commits.under_way + hub.commits.waiting)
            self._check(self._fleet.cloud, key, version, content)
            found.append(content)
        return found

    def _check(self, writer, key, version, content):
        """Nobody is shown what nobody wrote, or what the hub has not committed."""
        fleet, write = self._fleet, self.writes.get(content)
        if write is None or write.key != key:
            fleet.violation("%s shows %r of %r, which nobody wrote" % (writer.name, content, key))
        if (write.value is None) != (version.value is None) or version.origin != write.name:
            fleet.violation("%s shows %s of %r as %r of %s" % (writer.name, content, key, version.value, version.origin))
        if write.name != writer.name and writer is not fleet.cloud and content not in fleet.cloud.store.ever:
            fleet.violation("%s shows %s of %r, which the hub has not committed" % (writer.name, content, key))


def contents_on_disk(machine, topic):
    """{(dot, key): content} of all versions that lie on a disk. What a log holds beyond its seal, where it parted from another device, may
    bear the name of what that one wrote; that came as a carried version."""
    found, carried = {}, {}
    for name in sorted(machine.disk.files):
        parts = name.split("/")
        if len(parts) == 3 and parts[0].rpartition("-")[0] == topic and parts[2].endswith(".seg"):
            origin, _, epoch = parts[1].rpartition("-")
            for batch in batches_anywhere(machine.disk.files[name].data):
                for record in batch.versions():
                    dot = Extension(record.extension).dot
                    if dot:
                        carried[dot, record.key] = record.content
                    else:
                        found[(origin, int(epoch, 16), record.offset), record.key] = record.content
    found.update(carried)
    return found
