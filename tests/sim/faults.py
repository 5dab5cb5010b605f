"""What each kind of fault does to the fleet, and what its end is.

Rule: a fault does one thing that happens in the field, and tells the model where data may have gone with it. Where it does not
apply (the machine is off, say) it does nothing. Must not know: the core's insides.
"""

from keyed_model import contents_on_disk
from machine import Machine

MACHINES_MAX = 8


def do(fleet, kind, index, duration_ms, number):
    """Do a fault of plan.FAULTS to the fleet; `index` names a machine of the plan, `number` draws the details."""
    _DO[kind](fleet, fleet.machine_of(index, number), duration_ms, number)


def _link(fleet, machine, ms, number):
    if machine.node is not None:
        machine.carrier.disconnect("the link broke", ms)


def _up(fleet, machine, ms, number):
    machine.carrier.up.stuck = True
    fleet.until(ms, machine.carrier.up.clean)


def _down(fleet, machine, ms, number):
    machine.carrier.down.stuck = True
    fleet.until(ms, machine.carrier.down.clean)


def _lossy(fleet, machine, ms, number):
    for channel in (machine.carrier.up, machine.carrier.down):
        channel.loss, channel.repeat, channel.delay_ms = number % 60, number % 30, (4, 40, 400)[number % 3]
        fleet.until(ms + 1000, channel.clean)


def _slow(fleet, machine, ms, number):
    machine.carrier.up.rate = 1000 + number % 8000
    fleet.until(ms + 1000, machine.carrier.up.clean)


def _forget(fleet, machine, ms, number):
    for other in fleet.machines:
        other.carrier.up.forget()
        other.carrier.down.forget()


def _late(fleet, machine, ms, number):
    machine.carrier.up.again(1 + number % 8)
    machine.carrier.down.again(1 + number % 5)


def _power(fleet, machine, ms, number):
    if number % 3:
        machine.lose_power_within(1 + number % 13, ms)
    elif machine.node is not None:
        machine.lose_power(ms)


def _kill(fleet, machine, ms, number):
    if machine.node is not None:
        machine.kill(ms)


def _stop(fleet, machine, ms, number):
    machine.stop(ms)


def _reboots(fleet, machine, ms, number):
    count = 3 + number % 14
    machine.carrier.disconnect("far from any network", 60 * count)
    topic = sorted(machine.config.topics)[0]
    for i in range(count):
        at_ms = fleet.now_ms + 60 * i
        fleet.at(at_ms, machine.write, "bare", topic, 1 + number % 3, 8)
        fleet.at(at_ms + 30, _off_and_on, machine, number + i)


def _off_and_on(machine, number):
    if machine.node is not None:
        (machine.kill if number % 3 else machine.lose_power)(10)


def _hub(fleet, machine, ms, number):
    fleet.cloud.kill(ms)


def _store(fleet, machine, ms, number):
    store = fleet.cloud.store
    store.refusing = OSError(28)
    fleet.until(ms, lambda: setattr(store, "refusing", None))


def _backup(fleet, machine, ms, number):
    fleet.backup = fleet.cloud.store.backup()


def _rollback(fleet, machine, ms, number):
    if fleet.backup is not None:
        backup, fleet.backup = fleet.backup, None
        fleet.model.rolled_back(backup[6])
        fleet.cloud.roll_back(backup)


def _image(fleet, machine, ms, number):
    fleet.images[machine.number] = machine.disk.image(), dict(machine.app.owed)


def _restore(fleet, machine, ms, number):
    if machine.number in fleet.images:
        _change_disk(fleet, machine, fleet.images[machine.number], ms, "gets its disk's image back")


def _wipe(fleet, machine, ms, number):
    _change_disk(fleet, machine, ({}, {}), ms, "gets an empty disk")


def _change_disk(fleet, machine, image, ms, what):
    files, owed = image
    if machine.node is not None:
        machine.kill(ms)
    fleet.note("%s %s" % (machine.label, what))
    fleet.model.disk_lost(machine, files, owed)
    machine.disk.restore(files)


def _clone(fleet, machine, ms, number):
    twins = [other for other in fleet.machines if other.index == machine.index and not other.retired]
    if len(fleet.machines) >= MACHINES_MAX or len(twins) > 1:
        return
    image = machine.disk.image()
    twin = Machine(fleet, machine.index, len(fleet.machines), image)
    fleet.note("%s is a clone of %s" % (twin.label, machine.label))
    twin.app.begin_anew(machine.app.owed)
    on_disk = {}
    for topic in [topic for topic in fleet.plan.shared if fleet.plan.shared[topic].get("kind") == "keyed"]:
        on_disk.update({content: True for content in contents_on_disk(twin, topic).values()})
    twin.app.taken = {content: True for content in machine.app.taken if content in on_disk}
    fleet.model.cloned(machine, image)
    fleet.machines.append(twin)
    fleet.at(fleet.now_ms + 50, twin.start)
    fleet.until(8000 + 2 * ms, lambda: retire_one(fleet, machine, twin, number))


def retire_one(fleet, machine, twin, number):
    """One of two devices with one name goes for good, as the docs ask for."""
    if machine.retired or twin.retired:
        return
    gone = (machine, twin)[number % 2]
    fleet.model.disk_lost(gone, {}, {})
    gone.retire()


def _full(fleet, machine, ms, number):
    disk = machine.disk
    fleet.model.befell("full", machine)
    disk.capacity = disk.used + number % 2000
    fleet.until(ms + 500, lambda: setattr(disk, "capacity", None))


def _slow_disk(fleet, machine, ms, number):
    disk = machine.disk
    disk.latency_ms = (20, 300, 2000)[number % 3]
    fleet.until(ms + 500, lambda: setattr(disk, "latency_ms", machine.disk_ms))


def _unreadable(fleet, machine, ms, number):
    disk = machine.disk
    disk.unreadable = True
    fleet.until(ms, lambda: setattr(disk, "unreadable", False))


def _rot(fleet, machine, ms, number):
    _rot_one(fleet, machine, number, [name for name in sorted(machine.disk.files) if name.endswith(".seg")])


def _rot_slot(fleet, machine, ms, number):
    if not fleet.model.did("rot slot", machine.name):
        fleet.model.befell("rot slot", machine)
        _rot_one(fleet, machine, number, [name for name in sorted(machine.disk.files) if "/state." in name])


def _rot_one(fleet, machine, number, names):
    if names:
        name = names[number % len(names)]
        size = machine.disk.size(name)
        if size > 0:
            at = fleet.random.below(size)
            if name.endswith(".seg"):
                fleet.model.rotted(machine, name, at)
            fleet.note("%s: bit %d of byte %d of %s rots" % (machine.label, number % 8, at, name))
            machine.disk.rot(name, at, number % 8)


def _clock(fleet, machine, ms, number):
    if machine.clock is not None and machine.clock.offset_ms is not None:
        machine.clock.offset_ms += (number - 32768) * (1 if number % 2 else 1000)
        machine.offset_ms = machine.clock.offset_ms


def _pause(fleet, machine, ms, number):
    if machine.node is not None:
        machine.steer(True)
        fleet.until(ms, lambda: machine.steer(False))


def _gate(fleet, machine, ms, number):
    machine.park(False)
    fleet.until(ms, lambda: machine.park(True))


_DO = {
    "link": _link,
    "up": _up,
    "down": _down,
    "lossy": _lossy,
    "slow": _slow,
    "forget": _forget,
    "late": _late,
    "power": _power,
    "kill": _kill,
    "stop": _stop,
    "reboots": _reboots,
    "hub": _hub,
    "store": _store,
    "backup": _backup,
    "rollback": _rollback,
    "image": _image,
    "restore": _restore,
    "wipe": _wipe,
    "clone": _clone,
    "full": _full,
    "slow disk": _slow_disk,
    "unreadable": _unreadable,
    "rot": _rot,
    "rot slot": _rot_slot,
    "clock": _clock,
    "pause": _pause,
    "gate": _gate,
}
