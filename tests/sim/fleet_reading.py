"""What is read of a fleet: who is in it, the rows of their ledgers, how far the hub has each stream, and what lies on their disks.

Rule: it changes nothing. Must not know: what must hold.
"""

from bytes_on_disk import batches_anywhere
from model import stream_of


def alive(fleet):
    return [machine for machine in fleet.machines if not machine.retired]


def ledger_rows(fleet):
    """The ledger rows of all nodes, those of local topics left out: [(machine, stream key, row)]."""
    for machine in alive(fleet):
        for row in machine.node.ledger() if machine.node is not None else ():
            if not row["local"]:
                yield machine, (row["node"], row["topic"], row["partition"], int(row["epoch"], 16)), row


def marks(machine):
    """Control batches on a disk: offsets that are no records, and wait in no queue."""
    files = machine.disk.files
    return sum([batch.control for name in files if stream_of(name) is not None for batch in batches_anywhere(files[name].data)])


def hub_next(fleet, key):
    state = fleet.cloud.store.states.get(key)
    return state.next if state is not None else 0


def places_on_disks(fleet):
    """{content: [(stream key, offset)]} of all that lies in segments, whether or not it still counts."""
    found = {}
    for machine in alive(fleet):
        for name in sorted(machine.disk.files):
            stream = stream_of(name)
            if stream is not None:
                for batch in batches_anywhere(machine.disk.files[name].data):
                    for offset, content in batch.contents():
                        found.setdefault(content, []).append((stream, offset))
    return found
