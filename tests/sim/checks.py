"""What must hold at any moment and at rest, and what is still owed: said of the hub's store, the disks and the ledgers, against the model.

Rule: no code of the core decides here what is right; its ledger and its logs are only read. A check that fails names the stream
and the record. Must not know: how a node or the hub decides.
"""

import disk_checks
import keyed_checks
import store_checks
from bytes_on_disk import batches_anywhere
from fleet_reading import alive, hub_next, ledger_rows, marks
from model import stream_of
from streamline_core.frames import NAMES

RECORDS_PER_WRITE = 24  # at the most, and in one segment where they come at once
SLACK_SEGMENTS = 4  # what may lie above a cap between two turns: the reserve, and what one write brings


def describe(frame):
    """A frame for people."""
    return "%s %d bytes" % (NAMES[frame[0]] if frame[0] < len(NAMES) else "type %d" % frame[0], len(frame))


def why_not_drained(fleet):
    """What is still owed or wrong, in words; "" if nothing is."""
    if fleet.cloud.hub is None:
        return "the hub is down"
    for machine in alive(fleet):
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
    return keyed_checks.why_not_drained(fleet, alive(fleet))


def batches_owed(fleet):
    """Batches on the disks that the hub does not have yet, and records of feeds that nodes do not have."""
    n = keyed_checks.owed(fleet, alive(fleet))
    for machine in alive(fleet):
        for name in machine.disk.files:
            key = stream_of(name)
            if key is not None:
                n += len([batch for batch in batches_anywhere(machine.disk.files[name].data) if batch.next > hub_next(fleet, key)])
    return n


def sessions(fleet):
    """Who is in which session, as both sides have it."""
    hub = fleet.cloud.hub
    return [(machine.label, machine.node.link.session.id, hub.nodes[machine.name].current.id) for machine in alive(fleet)]


def drained(fleet):
    return not why_not_drained(fleet)


def all_is_told(fleet):
    for machine in alive(fleet):
        machine.app.settle()


def at_any_moment(fleet):
    """What must hold while everything goes wrong: ledgers add up, nobody claims more than was committed, what has a bound is within it."""
    store = fleet.cloud.store
    for machine, key, row in ledger_rows(fleet):
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
    keyed_checks.at_any_moment(fleet, alive(fleet))


def limits(fleet):
    """What has a bound is within it."""
    for machine in alive(fleet):
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
            rows = [(key, row) for other, key, row in ledger_rows(fleet) if other is machine]
            owed = sum([row["next"] - max(hub_next(fleet, key), row["first"] if _evicts(machine, key) else 0) for key, row in rows])
            if owed > queue_max and owed > queue_max + marks(machine) + _back_again(fleet, machine):
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


def _waits_for_the_disk(machine, log):
    """Bytes that a log can not give back yet: what is not durable, and files whose removal is not durably noted."""
    return log.buffered_bytes + sum([machine.disk.size(name) for _, name, _ in log.segments.removals])


def everything(fleet):
    """All promises, at rest."""
    at_any_moment(fleet)
    store_checks.everything(fleet)
    disk_checks.everything(fleet)
    keyed_checks.everything(fleet, alive(fleet))
