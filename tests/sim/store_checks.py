"""What must hold at rest of the hub's store: ledgers agree with it, each offset below a watermark is one record, one mark or one gap, each
gap has a cause that happened, nothing acknowledged is missing, and order is kept.

Rule: the model says what was written and what befell, the store what arrived. Must not know: how a node or the hub decided it.
"""

from disk_checks import rises
from fleet_reading import ledger_rows, places_on_disks


def everything(fleet):
    _ledgers_agree(fleet)
    _streams_are_tiled(fleet)
    _causes_happened(fleet)
    _nothing_is_missing(fleet)
    _order_holds(fleet)


def _ledgers_agree(fleet):
    store = fleet.cloud.store
    held = {}
    for machine, key, row in ledger_rows(fleet):
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
    on_disk = places_on_disks(fleet)
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


def _order_holds(fleet):
    """Along a stream, what one writer wrote rises; but where nodes bring back what a hub has lost."""
    for key in sorted(fleet.cloud.store.rows):
        if fleet.cloud.store.brought and key[0] == fleet.cloud.name:
            continue
        rises(fleet, key, fleet.cloud.store.rows[key])
