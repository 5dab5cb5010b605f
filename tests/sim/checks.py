"""What must hold at rest, and at any moment: said of the hub's store, the disks and the ledgers, against the model.

Rule: no code of the core decides here what is right; its ledger and its logs are only read. A check that fails names the stream
and the record.
"""

import keyed_checks
from bytes_on_disk import batches_anywhere
from model import stream_of
from streamline_core.frames import NAMES

RECORDS_PER_WRITE = 24  # at the most, and in one segment where they come at once
SLACK_SEGMENTS = 4  # what may lie above a cap between two turns: the reserve, and what one write brings


def describe(frame):
    """A frame for people."""
    return "%s %d bytes" % (NAMES[frame[0]] if frame[0] < len(NAMES) else "type %d" % frame[0], len(frame))


def _alive(fleet):
    return [machine for machine in fleet.machines if not machine.retired]


def _rows(fleet):
    """The ledger rows of all nodes, those of local topics left out: [(machine, stream key, row)]."""
    for machine in _alive(fleet):
        for row in machine.node.ledger() if machine.node is not None else ():
            if not row["local"]:
                yield machine, (row["node"], row["topic"], row["partition"], int(row["epoch"], 16)), row


def why_not_drained(fleet):
    """What is still owed or wrong, in words; "" if nothing is."""
    if fleet.cloud.hub is None:
        return "the hub is down"
    for machine in _alive(fleet):
        if machine.node is None:
            return "%s is down" % machine.label
        for row in machine.node.ledger():
            where = "%s %s-%d/%s: " % (machine.label, row["topic"], row["partition"], row["epoch"])
            if row["failure"] or row["refused"]:
                return where + str(row["failure"] or row["refused"])
            if row["buffered"]:
                return where + "%d buffered" % row["buffered"]
            if not row["local"] and (row["pending"] or row["unconfirmed"]):
                return where + "%d pending, unconfirmed %r; link %s" % (row["pending"], row["unconfirmed"], machine.node.status()["state"])
        if machine.app.waiting:
            return machine.label + ": somebody waits for the disk"
        if machine.node.status()["state"] != "open":
            return "%s: link %s: %s" % (machine.label, machine.node.status()["state"], machine.node.status()["why"])
    return keyed_checks.why_not_drained(fleet, _alive(fleet))


def batches_owed(fleet):
    """Batches on the disks that the hub does not have yet, and records of feeds that nodes do not have."""
    n = keyed_checks.owed(fleet, _alive(fleet))
    for machine in _alive(fleet):
        for name in machine.disk.files:
            key = stream_of(name)
            if key is not None:
                n += len([batch for batch in batches_anywhere(machine.disk.files[name].data) if batch.next > _hub_next(fleet, key)])
    return n


def sessions(fleet):
    """Who is in which session, as both sides have it."""
    hub = fleet.cloud.hub
    return [(machine.label, machine.node.link.session.id, hub.nodes[machine.name].current.id) for machine in _alive(fleet)]


def drained(fleet):
    return not why_not_drained(fleet)


def all_is_told(fleet):
    for machine in _alive(fleet):
        machine.app.settle()


def at_any_moment(fleet):
    """What must hold while everything goes wrong: ledgers add up, nobody claims more than was committed, what has a bound is within it."""
    store = fleet.cloud.store
    for machine, key, row in _rows(fleet):
        owed = row["pending"] + sum(row["unconfirmed"].values())
        if row["produced"] != row["delivered"] + owed + sum(row["lost"].values()) or min(row["delivered"], row["pending"]) < 0:
            fleet.violation("the ledger of %s does not add up: %r" % (machine.label, row))
        confirmed = row["delivered"] + sum(row["lost"].values())
        if row["sealed"] and row["pending"] > max(0, row["next"] - confirmed):
            fleet.violation("%s holds what is lost for pending: %r" % (machine.label, row))
        if not row["sealed"] and confirmed > store.ever_next.get(key, 0):
            what = machine.label, confirmed, key, store.ever_next.get(key, 0)
            fleet.violation("%s holds %d of %r for confirmed, the hub committed %d" % what)
    for key in sorted(store.states):
        state = store.states[key]
        if not 0 <= sum(state.lost.values()) <= state.next <= state.produced:
            fleet.violation("the hub says next %d, produced %d, lost %r of %r" % (state.next, state.produced, state.lost, key))
    limits(fleet)
    keyed_checks.at_any_moment(fleet, _alive(fleet))


def limits(fleet):
    """What has a bound is within it."""
    for machine in _alive(fleet):
        if machine.node is None:
            continue
        cap = machine.config.resources.max_storage
        logs = machine.node.logs()
        used = machine.disk.used - sum([_waits_for_the_disk(machine, log) for log in logs])
        bytes_max = machine.config.log.buffer_bytes + 2 * machine.config.log.batch_bytes
        for log in logs:
            if log.buffered_bytes > bytes_max and not log.held:
                what = machine.label, log.buffered_bytes, log.stream, bytes_max
                fleet.violation("%s: %d bytes of %r wait for the disk, at most %d may" % what)
        if cap and used > cap + SLACK_SEGMENTS * machine.config.log.segment_bytes:
            fleet.violation("%s stores %d bytes of %d" % (machine.label, used, cap))
        queue_max = machine.config.sync.max_queue_size
        if queue_max and not fleet.model.did("rollback") and not fleet.model.disk_changed(machine.name):
            rows = [(key, row) for other, key, row in _rows(fleet) if other is machine]
            owed = sum([row["next"] - max(_hub_next(fleet, key), row["first"] if _evicts(machine, key) else 0) for key, row in rows])
            if owed > queue_max and owed > queue_max + _marks(machine) + _back_again(fleet, machine):
                fleet.violation("%s queues %d records of %d" % (machine.label, owed, queue_max))
    if fleet.cloud.hub is not None:
        status = fleet.cloud.hub.status()
        if status["credit_granted"] > status["credit_total"]:
            fleet.violation("credit %d of %d" % (status["credit_granted"], status["credit_total"]))
        under_way = sum([receiver.under_way_bytes for receiver in fleet.cloud.hub.streams.receivers.values()])
        if under_way > 2 * status["credit_total"]:  # twice: credit goes back to the pool when a session ends, what it let in stays
            fleet.violation("%d bytes wait for the hub's store, %d were granted" % (under_way, status["credit_total"]))


def _back_again(fleet, machine):
    """Records that were given back for others, and are there again: the power went before that was noted."""
    evicting = [topic for topic in machine.config.topics.values() if topic.queue_full == "evict"]
    return RECORDS_PER_WRITE * sum([topic.partitions for topic in evicting]) if fleet.model.did("power", machine.name) else 0


def _evicts(machine, key):
    """Whether what a stream owes and does not hold any more leaves room in the queue: then it is the queue that gave it back."""
    return machine.config.topics[key[1]].queue_full == "evict" or machine.config.resources.eviction_policy != "reject"


def _marks(machine):
    """Control batches on a disk: offsets that are no records, and wait in no queue."""
    files = machine.disk.files
    return sum([batch.control for name in files if stream_of(name) is not None for batch in batches_anywhere(files[name].data)])


def _waits_for_the_disk(machine, log):
    """Bytes that a log can not give back yet: what is not durable, and files whose removal is not durably noted."""
    return log.buffered_bytes + sum([machine.disk.size(name) for _, name, _ in log.segments.removals])


def _hub_next(fleet, key):
    state = fleet.cloud.store.states.get(key)
    return state.next if state is not None else 0


def everything(fleet):
    """All promises, at rest."""
    at_any_moment(fleet)
    _ledgers_agree(fleet)
    _streams_are_tiled(fleet)
    _causes_happened(fleet)
    _nothing_is_missing(fleet)
    _order_holds(fleet)
    _disks_tell_the_same(fleet)
    _consumers_see_all(fleet)
    keyed_checks.everything(fleet, _alive(fleet))


def _ledgers_agree(fleet):
    store = fleet.cloud.store
    held = {}
    for machine, key, row in _rows(fleet):
        held[key] = True
        state = store.states.get(key)
        mine = row["produced"], row["delivered"], row["pending"], row["lost"]
        if state is None:
            if row["produced"]:
                fleet.violation("%s says %r of %r, the hub does not know it" % (machine.label, mine, key))
            continue
        lost = dict(state.lost)
        if state.closed and state.produced > state.next:
            lost["storage"] = lost.get("storage", 0) + state.produced - state.next
        theirs = state.produced, state.next - sum(state.lost.values()), 0, lost
        if mine != theirs:
            fleet.violation("%s says (produced, delivered, pending, lost) %r of %r, the hub %r" % (machine.label, mine, key, theirs))
    for key in sorted(store.states):
        state = store.states[key]
        if key not in held and not state.closed and not _is_written_by_the_hub(fleet, key):
            fleet.violation("nobody holds %r any more, and the hub has not closed it" % (key,))


def _is_written_by_the_hub(fleet, key):
    """Streams of the hub's own, and those that a node offers only to take part in a topic."""
    return key[0] == fleet.cloud.name or fleet.plan.shared.get(key[1], {}).get("direction") == "cloud_to_edge"


def _streams_are_tiled(fleet):
    """Below a watermark each offset is a record, a control batch, or in one gap; and the gaps are what the state counts as lost."""
    store = fleet.cloud.store
    for key in sorted(store.states):
        state = store.states[key]
        taken = {}
        lost = {}
        for offset in list(store.rows.get(key, ())) + store.controls.get(key, []):
            taken[offset] = taken.get(offset, 0) + 1
        for first, next_, cause in store.gaps.get(key, ()):
            lost[cause] = lost.get(cause, 0) + next_ - first
            for offset in range(first, next_):
                taken[offset] = taken.get(offset, 0) + 1
        for offset in range(state.next):
            if taken.get(offset) != 1:
                times = taken.get(offset, 0)
                fleet.violation("offset %d of %r is there %d times below the watermark %d" % (offset, key, times, state.next))
        if len(taken) != state.next or lost != state.lost:
            fleet.violation("%r: %d offsets and lost %r at watermark %d, lost %r" % (key, len(taken), lost, state.next, state.lost))


def _causes_happened(fleet):
    model = fleet.model
    for key in sorted(fleet.cloud.store.gaps):
        name = key[0]
        changed = model.disk_changed(name)
        for first, next_, cause in fleet.cloud.store.gaps[key]:
            if cause == "evicted":
                # On a full disk the note may be there and the removal not, when the process ends.
                good = changed or model.did("full", name) or model.did("rot", name)
                good = good or (_queue_evicts(fleet, key) and model.did("power", name))  # so may a cut between the two leave it
                good = good or _covered(model.removed_ranges.get(key, []), first, next_)
                good = good and (not _rejects(fleet, name) or _queue_evicts(fleet, key))
            elif cause == "corrupt":
                good = model.did("rot", name) or model.did("rot slot", name)
                # A cut may bring back some of the segments that were given back, and a hub that was rolled back asks for all of them.
                gone = model.did("full", name) or _covered(model.removed_ranges.get(key, []), first, next_)
                good = good or (model.did("rollback") and gone)
            elif cause == "torn":
                good = model.did("power", name) or model.did("full", name) or changed  # an image is what a cut would have left
            elif cause == "storage":
                good = changed or model.did("rot", name)
            elif cause == "rolled back":
                # A rotten slot may have held the note why a segment was given back: what is below the first one looks delivered then.
                good = model.did("rollback") or model.did("rot slot", name)
            else:
                good = cause == "too large" and fleet.plan.hub["frame_bytes_max"] < 65536
            if not good:
                fleet.violation("offsets [%d, %d) of %r are lost by %r, which never happened" % (first, next_, key, cause))


def _rejects(fleet, name):
    """Whether a node refuses to store more rather than give back what is owed."""
    return any([machine.name == name and machine.config.resources.eviction_policy == "reject" for machine in fleet.machines])


def _queue_evicts(fleet, key):
    """Whether a topic's oldest goes where more is owed than may be."""
    return any([machine.name == key[0] and machine.config.topics[key[1]].queue_full == "evict" for machine in fleet.machines])


def _covered(ranges, first, next_):
    at = first
    for low, high in sorted(ranges):
        if low <= at < high:
            at = high
    return at >= next_


def _nothing_is_missing(fleet):
    """Each acknowledged record is at the hub, or in a gap that befell it, or the model knows that no one can have it."""
    model, store = fleet.model, fleet.cloud.store
    on_disk = _places_on_disks(fleet)
    for content in sorted(model.written):
        written = model.written[content]
        if not written.acked or content in model.excused or store.where.get(content):
            continue
        if written.topic == "c":  # local: it stays on its disk, which is looked at elsewhere
            continue
        places = model.told_of.get(content, []) + model.removed_of.get(content, []) + model.damaged_of.get(content, [])
        places = places + on_disk.get(content, [])
        torn_too = model.may_forget(written.name)  # else what was acknowledged is never torn
        if not any([_in_gap(store, key, offset, torn_too) for key, offset in places]):
            if content in model.removed_of and _fork_took_a_gap(fleet, model.removed_of[content][0][0]):
                continue
            if content not in model.damaged_of:  # the end of a log may rot without a trace: nobody can know what was there
                fleet.violation("%s was acknowledged; the hub has neither it nor a gap for it: %r" % (content, places))


def _places_on_disks(fleet):
    """{content: [(stream key, offset)]} of all that lies in segments, whether or not it still counts."""
    found = {}
    for machine in _alive(fleet):
        for name in sorted(machine.disk.files):
            stream = stream_of(name)
            if stream is not None:
                for batch in batches_anywhere(machine.disk.files[name].data):
                    for offset, content in batch.contents():
                        found.setdefault(content, []).append((stream, offset))
    return found


def _fork_took_a_gap(fleet, stream):
    """A fork moves the gaps of what was evicted, too, to other offsets of another epoch."""
    found = [key for key in fleet.cloud.store.gaps if key[:3] == stream[:3] and key[3] != stream[3]]
    model = fleet.model
    forked = model.disk_changed(stream[0]) or model.did("rot", stream[0]) or model.did("rollback")
    return forked and any([row[2] in ("evicted", "rolled back") for key in found for row in fleet.cloud.store.gaps[key]])


def _in_gap(store, key, offset, torn_too=True):
    for first, next_, cause in store.gaps.get(key, ()):
        if first <= offset < next_ and (torn_too or cause != "torn"):
            return True
    state = store.states.get(key)
    return state is not None and state.closed and state.next <= offset < state.produced


def _number(content):
    """(who, n) of a content."""
    who, _, n = content.partition(".")
    return who, int(n)


def _order_holds(fleet):
    """Along a stream, what one writer wrote rises; but where nodes bring back what a hub has lost."""
    for key in sorted(fleet.cloud.store.rows):
        if fleet.cloud.store.brought and key[0] == fleet.cloud.name:
            continue
        _rises(fleet, key, fleet.cloud.store.rows[key])


def _rises(fleet, key, rows):
    last = {}
    for offset in sorted(rows):
        who, n = _number(rows[offset])
        if n <= last.get(who, 0):
            fleet.violation("offset %d of %r: %s comes after %s.%d" % (offset, key, rows[offset], who, last[who]))
        last[who] = n


def _disks_tell_the_same(fleet):
    """What lies on the disks is what was acknowledged there, and what is owed is there, at the hub, or in a place that was removed."""
    model = fleet.model
    for machine in _alive(fleet):
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
            _rises(fleet, stream, rows)
        for content in sorted(machine.app.owed):
            if content in there or content in model.excused or content in model.damaged_of or content in model.removed_of:
                continue
            fleet.violation("%s was acknowledged by %s and is on its disk no more" % (content, machine.label))


def _consumers_see_all(fleet):
    """A consumer that begins at 0 is shown each offset of the open epoch once: a record, or in a gap; but for control batches."""
    for machine in _alive(fleet):
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
