"""What must hold of keyed topics and of feeds at rest: replicas are equal, what stands is what the writes say, and what is shown is what
the rule names.

Rule: which versions stand is decided from the model's writes, by what each writer had been shown; which one is shown, by strategies
written here once more; what the hub holds is read from the bytes in its store. A table is only asked what it shows. Must not know: how it
does that.
"""

from application import shown
from bytes_on_disk import Extension, Record, parse_batches
from keyed_model import contents_on_disk

CONTEXT_MAX = 16  # writers of a key in one context; beyond that a superseded version may come to stand again


def down_topics(machine):
    """[(topic, partition, whether it is keyed)] of the feeds of a machine."""
    shared, topics = machine.fleet.plan.shared, machine.config.topics
    return [
        (topic, partition, topics[topic].kind == "keyed")
        for topic in sorted(shared)
        if topic in topics
        for partition in range(topics[topic].partitions)
    ]


def why_not_drained(fleet, alive):
    """What of feeds and tables is still under way, in words; "" if nothing is."""
    hub, store = fleet.cloud.hub, fleet.cloud.store
    if not fleet.plan.shared:
        return ""
    if hub.commits.waiting or hub.commits.under_way or hub.producer.writer.waiting:
        return "the hub's store is behind"
    for machine in alive:
        feeds = {(row["topic"], row["partition"]): row for row in machine.node.downlink.status()}
        for topic, partition, keyed in down_topics(machine):
            where = "%s %s-%d: " % (machine.label, topic, partition)
            row = feeds[topic, partition]
            head = store.heads.get((topic, partition), (0,))[0]
            cursor = store.cursors.get((machine.name, topic, partition), 0)
            if row["next"] != head or cursor != head or row["pending"]:
                return where + "feed at %d, the hub holds it for %d of %d (%s)" % (row["next"], cursor, head, row["why"])
            if keyed:
                others = machine.node.tables.topics[topic][partition].others
                if others.failure is not None or others.buffered_bytes or others.durable != others.next:
                    return where + "what others wrote is not durable yet"
    return ""


def owed(fleet, alive):
    """Cloud offsets that nodes do not have yet."""
    n = 0
    for machine in alive:
        for topic, partition, _ in down_topics(machine):
            head = fleet.cloud.store.heads.get((topic, partition), (0,))[0]
            n += max(0, head - fleet.cloud.store.cursors.get((machine.name, topic, partition), 0))
    return n


def at_any_moment(fleet, alive):
    """What a node has confirmed of a log's feed is there for good."""
    for machine in alive:
        may_lack = fleet.model.may_forget(machine.name) or fleet.model.did("full", machine.name)
        if machine.node is None or may_lack:
            continue
        for topic, partition, keyed in down_topics(machine):
            cursor = fleet.cloud.store.cursors.get((machine.name, topic, partition), 0)
            written = 0 if keyed else machine.node.downlink.feeds[topic, partition].partition.current.written
            if not keyed and cursor > written and not fleet.model.did("rollback"):
                what = machine.label, cursor, topic, partition, written
                fleet.violation("%s has confirmed the feed up to %d of %s-%d, and holds it up to %d" % what)


def everything(fleet, alive):
    for topic in sorted(fleet.plan.shared):
        row = fleet.plan.shared[topic]
        for partition in range(row["partitions"]):
            if row.get("kind") == "keyed":
                _table(fleet, alive, topic, partition, row["strategy"])
            else:
                _feed(fleet, alive, topic, partition)


# Keyed topics


class _Standing:
    """A version as bytes have it."""

    def __init__(self, content, dot, extension, value):
        self.content = content
        self.dot = dot
        self.extension = extension
        self.value = value
        self.order = (extension.trusted and not extension.demoted, extension.hlc) + dot

    @property
    def told(self):
        """What every replica must say of it."""
        ext = self.extension
        return self.dot, "cloud" if ext.cloud else "edge", ext.hlc, ext.trusted, ext.demoted, self.value


def _table(fleet, alive, topic, partition, strategy):
    hub, store = {}, fleet.cloud.store
    for _, row in store.versions.get((topic, partition), {}).values():
        extension, record = Extension(row.extension), Record(row.record, 0, 0)
        content = store.content_at(extension.dot, topic, partition, ())
        if extension.dot != row.dot or record.content != content or record.key != row.key:
            fleet.violation("the hub holds %r of %r as %r, which is %s" % (record.content, row.key, row.dot, content))
        hub.setdefault(bytes(row.key), []).append(_Standing(content, extension.dot, extension, record.value))
    for key in hub:
        hub[key].sort(key=_order)
    _what_stands(fleet, topic, partition, hub)
    for machine in alive:
        if topic in machine.config.topics:
            _same(fleet, machine, topic, partition, hub, strategy)
    for refused in store.refused:
        fleet.violation("the hub refused a version: %s" % refused.why)


def _order(version):
    return version.order


def _what_stands(fleet, topic, partition, hub):
    """All that arrived, but for what the writer of something else that arrived had seen: that stands, and nothing else."""
    model, store = fleet.model, fleet.cloud.store
    for key in sorted({write.key: True for write in model.keyed.writes.values()}):
        if _partition(key, fleet.plan.shared[topic]["partitions"]) != partition:
            continue
        writes = {content: model.keyed.writes[content] for content in model.keyed.writes if model.keyed.writes[content].key == key}
        brought = {store.brought[row]: True for row in store.brought}
        arrived = [content for content in sorted(writes) if store.where.get(content) or content in brought]
        gone = {}
        for content in arrived:
            for seen in list(writes[content].past) + writes[content].own:
                gone[seen] = content
        expected = [content for content in arrived if content not in gone]
        found = sorted([version.content for version in hub.get(key, ())])
        many = len({place[0]: True for content in arrived for place in store.where.get(content, ())}) > CONTEXT_MAX
        for content in expected:
            if content not in found:
                fleet.violation("%s of %r was seen by no later write, and stands no more; there are %r" % (content, key, found))
        for content in found:
            if content not in expected and not many:
                fleet.violation("%s of %r stands, though the writer of %s had seen it" % (content, key, gone.get(content)))
        if len(found) != len(expected) and not many:
            fleet.violation("%r of %r stand, expected %r" % (found, key, expected))
        for version in hub.get(key, ()):
            if version.value != writes[version.content].value:
                fleet.violation("the hub holds another value of %s than was written" % version.content)
            _context_is_honest(fleet, topic, partition, key, version, writes)


def _context_is_honest(fleet, topic, partition, key, version, writes):
    """A version claims to have seen nothing that its writer was not shown."""
    write = writes[version.content]
    for origin, epoch in version.extension.seen:
        rows = fleet.cloud.store.rows.get((origin, topic, partition, epoch), {})
        for offset in rows:
            content = rows[offset]
            if offset < version.extension.seen[origin, epoch] and content in writes:
                if content not in write.past and content not in write.own:
                    fleet.violation("%s of %r claims to have seen %s, which its writer had not" % (version.content, key, content))


def _partition(key, partitions):
    import binascii

    return binascii.crc32(key) % partitions


def _same(fleet, machine, topic, partition, hub, strategy):
    """A machine holds exactly what the hub holds, and shows what the rule says."""
    node = machine.node
    keyed = node.tables.topics[topic][partition]
    names = contents_on_disk(machine, topic)
    conflicts, standing = [], []
    held = keyed.table.keys(b"", True)
    if held != sorted(hub):
        fleet.violation("%s holds the keys %r, the hub %r" % (machine.label, held, sorted(hub)))
    for key in held:
        versions, resolution = node.tables.resolve(topic, key)
        mine = [(v.dot, v.side, v.hlc, v.trusted, v.demoted, v.value) for v in versions]
        theirs = [version.told for version in hub[key]]
        if mine != theirs:
            shown = [names.get((v.dot, key)) for v in versions], [version.content for version in hub[key]]
            fleet.violation("%s holds %r of %r, the hub %r: %r, %r" % (machine.label, shown[0], key, shown[1], mine, theirs))
        conflicts += [key] if len(mine) > 1 else []
        standing += [key] if any([version.value is not None for version in hub[key]]) else []
        value = _winner(strategy, key, hub[key])
        if node.tables.get(topic, key) != value:
            what = machine.label, node.tables.get(topic, key), key, strategy, value
            fleet.violation("%s shows %r of %r, by %s it is %r" % what)
        if resolution is not None and (resolution.value != value or (len(mine) > 1) != (resolution is not None)):
            fleet.violation("%s resolves %r to %r" % (machine.label, key, resolution.value))
    count = fleet.plan.shared[topic]["partitions"]
    for found, what in ((node.tables.conflicts(topic), conflicts), (node.tables.keys(topic), standing)):
        if [key for key in found if _partition(key, count) == partition] != what:
            fleet.violation("%s tells the keys %r, of which %r are to be told" % (machine.label, found, what))
    if keyed.unreadable and not fleet.model.did("rot", machine.name):
        fleet.violation("%s met %d versions that made no sense" % (machine.label, keyed.unreadable))


def _winner(strategy, key, versions):
    """What is shown of siblings, the earliest first."""
    if len(versions) == 1:
        return versions[0].value
    cloud = [version for version in versions if version.extension.cloud]
    edge = [version for version in versions if not version.extension.cloud]
    if strategy == "first_write_wins":
        return min(versions, key=lambda version: (not version.order[0],) + version.order[1:]).value
    if strategy == "cloud_wins":
        return (cloud or versions)[-1].value
    if strategy == "edge_wins":
        return (edge or versions)[-1].value
    if strategy == "last_write_wins":
        return versions[-1].value
    written = [version.value for version in versions if version.value is not None]
    if not written:
        return None
    if strategy == "keep_both" or key == b"k0":  # of which `cloud.merge` makes nothing
        return written[-1]
    return b"&".join(written)


# Feeds of logs


def _feed(fleet, alive, topic, partition):
    """Each consumer was shown each record that is not its own once, in the order of the cloud's offsets; and is shown them again."""
    rows = []
    for chunk in fleet.cloud.store.chunks.get((topic, partition), ()):
        at = chunk.cloud_offset
        for batch in parse_batches(chunk.data):
            for offset, content in batch.contents():
                if chunk.first <= offset < chunk.next:
                    rows.append((at, content, chunk.origin))
                    at += 1
        if at != chunk.cloud_offset + chunk.count:
            fleet.violation("a chunk of %s at cloud offset %d holds other than %d records" % (topic, chunk.cloud_offset, chunk.count))
    for machine in alive:
        if topic in machine.config.topics:
            while machine.app.take_feeds():
                pass
            consumer, fresh = machine.node.consumer(topic, partition, feed=True), []
            while True:
                items = consumer.take()
                if not items:
                    break
                fresh += [shown(item) for item in items]
            _fed(fleet, machine, topic, "a new consumer", fresh, rows, True)
            if fleet.model.did("rollback") and fleet.model.did("rot", machine.name):
                continue  # who has lost what he had cannot tell that the hub has something else now: see docs/PROOF.md
            _fed(fleet, machine, topic, "its consumer", machine.app.fed.get((topic, partition), []), rows, not fleet.model.did("rollback"))


def _fed(fleet, machine, topic, who, found, rows, exactly):
    """rows: what the hub has. exactly: nothing else was to be shown; a hub that is rolled back leaves in a reader's mind what it forgot,
    and gives again, at other offsets, what nodes send once more."""
    gaps = [row for row in found if row[1] is None]
    for row in gaps:
        # In a copy, terms are the hub's openings: what rots at the end of one cannot be told from what was torn there.
        befell = {"evicted": "full", "corrupt": "rot", "torn": "rot"}.get(row[3], "nothing")
        if not fleet.model.did(befell, machine.name):
            fleet.violation("%s, feed of %s: %s is shown a gap from %d to %d by %r" % (machine.label, topic, who, row[0], row[2], row[3]))
    found = [row for row in found if row[1] is not None]
    if fleet.model.disk_changed(machine.name):  # what it wrote on another disk is fed to it, too
        found = [row for row in found if row + (machine.name,) not in rows]
    expected = [row[:2] for row in rows if row[2] != machine.name and not any([gap[0] <= row[0] < gap[2] for gap in gaps])]
    if not exactly:
        found = [row for row in expected if row in found]
    if found != expected:
        n = 0
        while n < min(len(found), len(expected)) and found[n] == expected[n]:
            n += 1
        what = machine.label, topic, who, found[n : n + 3], expected[n : n + 3]
        fleet.violation("%s, feed of %s: %s is shown %r, where %r come" % what)
