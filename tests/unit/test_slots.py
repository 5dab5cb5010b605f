"""Slots: one of the two is whole, whatever happens to the other."""

from harness import MemoryStorage, flips
from streamline_core.slots import Slots


def saved(*contents):
    storage = MemoryStorage()
    slots = Slots(storage, "s")
    for content in contents:
        slots.save(content)
        done(slots, storage)
    return storage


def done(slots, storage, error=None):
    for ticket in storage.completed():
        assert ticket == slots.ticket
        slots.synced(error)


def test_the_newer_one_counts_and_any_flipped_bit_gives_the_older_one():
    storage = saved(b"one", b"two")
    assert Slots(storage, "s").load() == b"two"
    good = bytes(storage.files["s.0"])
    for bit, copy in flips(good):
        storage.files["s.0"] = bytearray(copy)
        assert Slots(storage, "s").load() == b"one", bit
    for length in range(len(good)):
        storage.files["s.0"] = bytearray(good[:length])
        assert Slots(storage, "s").load() == b"one", length
    storage.files["s.1"] = bytearray(b"junk")
    assert Slots(storage, "s").load() is None


def test_a_torn_write_is_written_over_and_the_good_one_is_left():
    storage = saved(b"one", b"two", b"three")
    storage.files["s.1"] = storage.files["s.1"][:5]
    slots = Slots(storage, "s")
    assert slots.load() == b"two"
    slots.save(b"four")
    storage.files["s.1"] = storage.files["s.1"][:5]
    assert Slots(storage, "s").load() == b"two"


def test_what_is_asked_for_during_a_write_follows_it_the_last_one_only():
    storage = MemoryStorage()
    slots = Slots(storage, "s")
    versions = [slots.save(c) for c in (b"a", b"b", b"c")]
    done(slots, storage)
    assert slots.durable_version == versions[0]
    done(slots, storage)
    assert slots.durable_version == versions[2] and not slots.ticket and Slots(storage, "s").load() == b"c"


def test_a_refused_or_failed_write_never_touches_the_good_slot():
    storage = saved(b"one", b"two")
    slots = Slots(storage, "s")
    slots.load()
    replace = storage.replace

    def refuse(name, data):
        raise OSError("no room")

    storage.replace = refuse
    slots.save(b"lost")
    slots.save(b"three")
    done(slots, storage)  # what was loaded is durable
    assert slots.stalled
    storage.replace = replace
    slots.retry()
    assert bytes(storage.files["s.0"])[12:] == b"two" and not slots.stalled
    done(slots, storage, OSError("EIO"))
    assert slots.stalled and slots.durable_version == 0
    slots.retry()
    done(slots, storage)
    assert slots.durable_version == 2 and bytes(storage.files["s.0"])[12:] == b"two" and Slots(storage, "s").load() == b"three"


def test_what_is_only_loaded_is_made_durable_before_the_other_slot_is_touched():
    storage = saved(b"one")
    for content in (b"two", b"three", b"four"):  # a process that is killed each time before its write is durable
        slots = Slots(storage, "s")
        assert slots.load() is not None
        slots.save(content)
    assert bytes(storage.files["s.1"])[12:] == b"one"  # a cut may tear all that is not durable
    storage.power_cut()
    assert Slots(storage, "s").load() == b"one"
    slots = Slots(storage, "s")
    slots.load()
    version = slots.save(b"five")
    done(slots, storage, OSError("EIO"))
    assert slots.stalled and slots.durable_version == 0 and bytes(storage.files["s.1"])[12:] == b"one"
    slots.retry()
    while slots.ticket:
        done(slots, storage)
    storage.power_cut()
    assert slots.durable_version == version and Slots(storage, "s").load() == b"five"
