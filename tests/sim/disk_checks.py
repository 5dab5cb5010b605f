"""What must hold at rest of the disks: they hold what was acknowledged there, stamps and numbers rise, and a consumer is shown all of it.

Rule: segments are read by bytes_on_disk, not by the core. Must not know: what the hub holds.
"""

from bytes_on_disk import batches_anywhere
from fleet_reading import alive
from model import stream_of


def everything(fleet):
    _disks_tell_the_same(fleet)
    _consumers_see_all(fleet)


def _number(content):
    """(who, n) of a content."""
    who, _, n = content.partition(".")
    return who, int(n)


def rises(fleet, key, rows):
    """What one writer wrote rises along a stream. rows: {offset: content}."""
    last = {}
    for offset in sorted(rows):
        who, n = _number(rows[offset])
        if n <= last.get(who, 0):
            fleet.violation("offset %d of %r: %s comes after %s.%d" % (offset, key, rows[offset], who, last[who]))
        last[who] = n


def _disks_tell_the_same(fleet):
    """What lies on the disks is what was acknowledged there, and what is owed is there, at the hub, or in a place that was removed."""
    model = fleet.model
    for machine in alive(fleet):
        there, stamps = {}, {}
        for name in sorted(machine.disk.files):
            stream = stream_of(name)
            if stream is None:
                continue
            rows = {}
            for batch in batches_anywhere(machine.disk.files[name].data):
                if batch.hlc <= stamps.get(stream, 0):
                    what = machine.label, batch.base, stream
                    fleet.violation("%s: the batch at offset %d of %r has an older stamp than one before it" % what)
                stamps[stream] = batch.hlc
                for offset, content in batch.contents():
                    rows[offset] = content
                    there[content] = True
                    told = model.told_at.get((stream, offset), [content])
                    if content not in told and not model.disk_changed(machine.name) and told[0] not in model.damaged_of:
                        where = machine.label, content, offset, stream, told[0]
                        fleet.violation("%s holds %s at offset %d of %r, acknowledged as %s" % where)
            rises(fleet, stream, rows)
        for content in sorted(machine.app.owed):
            if content in there or content in model.excused or content in model.damaged_of or content in model.removed_of:
                continue
            fleet.violation("%s was acknowledged by %s and is on its disk no more" % (content, machine.label))


def _consumers_see_all(fleet):
    """A consumer that begins at 0 is shown each offset of the open epoch once: a record, or in a gap; but for control batches."""
    for machine in alive(fleet):
        for topic in sorted(machine.config.topics):
            of_the_hub = fleet.plan.shared.get(topic, {})
            if of_the_hub.get("kind") == "keyed" or of_the_hub.get("direction") == "cloud_to_edge":
                continue  # what stands is seen in tables, what the cloud sends in feeds
            for partition in range(machine.config.topics[topic].partitions):
                _consumer_sees_all(fleet, machine, topic, partition)


def _consumer_sees_all(fleet, machine, topic, partition):
    log = machine.node.log(topic, partition)
    controls, contents = {}, {}
    for name in machine.disk.files:
        if stream_of(name) == log.stream.key():
            for batch in batches_anywhere(machine.disk.files[name].data):
                contents.update(dict(batch.contents()))
                if batch.control:
                    controls[batch.base] = True
    consumer, at = machine.node.consumer(topic, partition), 0
    while True:
        items = consumer.take()
        for item in items:
            gap = hasattr(item, "cause")
            first, next_ = (item.first, item.next) if gap else (item.offset, item.offset + 1)
            while at < first and at in controls:
                at += 1
            if first != at:
                fleet.violation("%s: a consumer of %r is shown offset %d after %d" % (machine.label, log.stream, first, at))
            if not gap and contents.get(at) != bytes(item.value).split(b"|")[0].decode():
                fleet.violation("%s: a consumer of %r is shown %r at offset %d" % (machine.label, log.stream, item.value, at))
            at = next_
        if not items:
            break
    while at in controls:
        at += 1
    if at < log.durable:
        fleet.violation("%s: a consumer of %r ends at %d of %d" % (machine.label, log.stream, at, log.durable))
