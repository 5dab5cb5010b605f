"""What shall happen in one history: the machines, what is written where, and every fault, drawn from a seed before anything runs.

Rule: a plan is data: tuples and small dicts, nothing decided later depends on it except through it. So a failing plan can be made smaller
by leaving rows out, and what is left still happens as before. Runs on both interpreters. Must not know: how a fault is done.
"""

import binascii

from harness import Random

TOPICS = ("a", "b", "c")
# kind, how often
FAULTS = (
    ("link", 14),  # the connection to the broker breaks, and comes back
    ("up", 8),  # half open: nothing gets through in one direction, and nobody is told
    ("down", 8),
    ("lossy", 10),  # loss, repeats and reordering, both ways
    ("slow", 6),  # a few KB/s
    ("forget", 4),  # the broker loses all it holds
    ("late", 8),  # frames of earlier sessions arrive once more
    ("power", 16),  # the machine loses its power, in the middle of a storage call or between two
    ("kill", 8),  # its process is killed: the system's cache survives
    ("stop", 3),  # its process ends orderly, and starts again
    ("hub", 10),  # the hub's process is killed
    ("store", 5),  # the hub's store refuses commits for a while
    ("backup", 4),  # the hub's store is backed up …
    ("rollback", 3),  # … and restored
    ("image", 4),  # a machine's disk is copied …
    ("restore", 3),  # … and put back
    ("wipe", 2),  # a machine gets an empty disk
    ("clone", 2),  # a second machine starts with a copy of the disk and the same node id
    ("full", 5),  # no room on a disk for a while
    ("slow disk", 5),
    ("unreadable", 3),  # reads fail for a while
    ("rot", 4),  # a bit of a segment turns over
    ("rot slot", 2),  # a bit of a state file does
    ("clock", 5),  # the wall clock steps, forward or back
    ("pause", 3),  # sync is paused and resumed
)


RESTLESS = FAULTS + (("reboots", 60),)  # the machine starts again and again, far from any network, and writes a little each time
HUB = -1  # in place of a machine: the hub writes
GATED = FAULTS + (("gate", 30),)  # the condition under which a node may sync holds no longer, and holds again
WORLDS = {
    "small": (1, 20, 24, FAULTS),
    "large": (4, 300, 200, FAULTS),
    "restless": (1, 12, 30, RESTLESS),
    "keyed": (3, 14, 70, FAULTS),
    "limited": (2, 16, 60, GATED),
}


class Plan:
    """seed; world: one of WORLDS; machines: [config as a dict]; clocks: [(wall offset ms or None, drift in 1/1000)]; hub: options;
    disks: [ms that a sync may take]; shared: definitions of the topics that flow down, by name, equal on all sides;
    writes: [(ms, machine (HUB: the hub), kind, topic, records (of a keyed topic: which key), bytes)];
    faults: [(ms, kind, machine, duration ms, number)]."""

    def __init__(self, seed, world):
        self.seed = seed
        self.world = world
        self.machines = []
        self.clocks = []
        self.disks = []
        self.writes = []
        self.faults = []
        self.hub = {}
        self.shared = {}
        self.duration_ms = 0

    def copy(self):
        twin = Plan(self.seed, self.world)
        twin.machines, twin.clocks, twin.disks = list(self.machines), list(self.clocks), list(self.disks)
        twin.writes, twin.faults = list(self.writes), list(self.faults)
        twin.hub, twin.shared, twin.duration_ms = self.hub, self.shared, self.duration_ms
        return twin

    def lines(self):
        """The plan for people."""
        found = ["seed %d, %s world, %d ms" % (self.seed, self.world, self.duration_ms), "hub %s" % _shown(self.hub)]
        for i, given in enumerate(self.machines):
            found.append("machine %d %s clock %r" % (i, _shown(given), self.clocks[i]))
        for row in sorted([(w[0], "write", w[1:]) for w in self.writes] + [(f[0], "fault", f[1:]) for f in self.faults]):
            found.append("%6d ms  %s %r" % row)
        return found


def _shown(given):
    parts = []
    for key in sorted(given):
        value = given[key]
        parts.append("%s: %s" % (key, _shown(value) if isinstance(value, dict) else value))
    return "{%s}" % ", ".join(parts)


def stream(seed, name):
    """A source of random numbers of its own for each purpose: what one part draws moves no other."""
    random = Random(binascii.crc32(("%d %s" % (seed, name)).encode()))
    for _ in range(4):
        random.below(2)
    return random


def draw(seed, world="small"):
    """The plan of a seed. small: an edge and a hub, 20 faults; large: four edges and a hub, 300 faults; restless: an edge that starts
    dozens of times; keyed: up to three edges that write the same keys as the hub, and read what it sends down; "keyed+wipe+rot": with more
    of these; limited: one edge or two that have every policy for what is too much."""
    plan = Plan(seed, world)
    random = stream(seed, "plan")
    if world.split("+")[0] == "keyed":
        import keyed_plan  # which draws with what is here

        keyed_plan.fill(plan, random)
        return plan
    if world == "limited":
        import limited_plan

        limited_plan.fill(plan, random)
        return plan
    machines, faults, writes, table = WORLDS[world]
    plan.duration_ms = 180000 if world == "large" else 20000 + 10000 * random.below(3)
    plan.hub = hub_options(random)
    for i in range(machines):
        plan.machines.append(config_of(random, i))
        plan.disks.append(pick(random, (0, 3, 10, 40)))
        plan.clocks.append((pick(random, (0, 0, 0, -3600000, 5000, None, None)), pick(random, (0, 0, 0, 10, -10))))
    for _ in range(writes):
        plan.writes.append(_write(random, plan))
    for _ in range(faults):
        plan.faults.append(fault_of(random, plan, table))
    plan.writes.sort()
    plan.faults.sort()
    return plan


def pick(random, choices):
    return choices[random.below(len(choices))]


def hub_options(random):
    return {
        "credit_bytes": pick(random, (8192, 65536, 64 << 20)),
        "store_ms": pick(random, (0, 5, 50)),
        "frame_bytes_max": pick(random, (65536, 65536, 65536, 700)),
    }


def config_of(random, i):
    segment_bytes = pick(random, (1024, 2048, 4096))
    frame_bytes_max = pick(random, (1024, 2048, 4096))
    given = {
        "node_id": "n%d" % i,
        "data_dir": "-",
        "frame_bytes_max": frame_bytes_max,
        "sync_topics": [{"topic": "a"}, {"topic": "b", "partitions": 2}][: 1 + random.below(2)],
        "log": {
            "segment_bytes": segment_bytes,
            "batch_bytes": min(segment_bytes, frame_bytes_max - 128, pick(random, (512, 896))),
            "commit_interval_ms": pick(random, (0, 5, 20, 100)),
            "producers_max": pick(random, (4, 64)),
            "buffer_bytes": pick(random, (2048, 16 << 20)),
        },
        "sync": {
            "retry": {"initial_ms": 200, "max_ms": pick(random, (1000, 5000))},
            "interval_secs": pick(random, (0, 0, 0, 2)),
            "bandwidth_limit": pick(random, (0, 0, 0, 8000)),
            "max_queue_size": pick(random, (0, 0, 0, 150)),
        },
        "resources": {
            "max_storage": pick(random, (0, 0, 12 * segment_bytes, 24 * segment_bytes)),
            "eviction_policy": pick(random, ("oldest", "oldest", "reject")),
        },
    }
    if random.below(3) == 0:
        given["local_topics"] = ["c"]
    return given


def _write(random, plan):
    machine = random.below(len(plan.machines))
    topics = [row["topic"] for row in plan.machines[machine]["sync_topics"]] + plan.machines[machine].get("local_topics", [])
    kind = pick(random, ("bare", "bare", "many", "full", "producer", "producer"))
    at_ms, topic, records = random.below(plan.duration_ms), pick(random, topics), 1 + random.below(24)
    return at_ms, machine, kind, topic, records, pick(random, (8, 30, 30, 120, 120, 650))


def fault_of(random, plan, table):
    at, i = random.below(sum([row[1] for row in table])), 0
    while at >= table[i][1]:
        at -= table[i][1]
        i += 1
    kind = table[i][0]
    duration_ms = pick(random, (10, 100, 500, 2000, 6000))
    return random.below(plan.duration_ms), kind, random.below(len(plan.machines)), duration_ms, random.below(1 << 16)
