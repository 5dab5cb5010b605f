"""Plans of the keyed world: what several nodes and the hub write to the same few keys, and to the topics that flow down.

Rule: data, as in plan.py; a definition is drawn once, for all sides. Must not know: how a fault is done.
"""

from plan import HUB, WORLDS, config_of, fault_of, hub_options, pick

KEYED = "k"
DOWN = "p"  # a log from the cloud to the edges
BOTH = "q"  # a log both ways
KEYS = 5
STRATEGIES = ("last_write_wins", "first_write_wins", "cloud_wins", "edge_wins", "keep_both", "custom_merge")
FUTURE_MS = 3 * 86400000  # a clock so far ahead that the hub holds its stamps for absurd
KEYED_BYTES_MAX = 130  # of a value: with all that a version carries it fits the smallest batch
WEIGHT = 12  # that is added to a fault of which more is asked for


def fill(plan, random):
    """Draw a plan of the keyed world. Behind each "+" in the world's name: a kind of fault of which there is to be more."""
    parts = plan.world.split("+")
    machines_max, faults, writes, table = WORLDS[parts[0]]
    table = table + tuple([(kind, WEIGHT) for kind in parts[1:]])
    plan.duration_ms = 20000 + 10000 * random.below(2)
    plan.hub = hub_options(random)
    plan.hub["frame_bytes_max"] = pick(random, (65536, 65536, 2048))
    plan.hub["defines"] = random.below(2) == 1
    plan.shared = _definitions(random)
    for i in range(1 + random.below(machines_max)):
        plan.machines.append(_config(random, i, plan.shared))
        plan.disks.append(pick(random, (0, 3, 10, 40)))
        plan.clocks.append((pick(random, (0, 0, 0, 0, -3600000, 5000, None, None, FUTURE_MS)), pick(random, (0, 0, 0, 10, -10))))
    while len(plan.writes) < writes:
        _write(random, plan)
    for _ in range(faults):
        plan.faults.append(fault_of(random, plan, table))
    plan.writes.sort()
    plan.faults.sort()


def _definitions(random):
    shared = {
        KEYED: {"kind": "keyed", "direction": "bidirectional", "partitions": 1 + random.below(2), "strategy": pick(random, STRATEGIES)}
    }
    if shared[KEYED]["strategy"] == "custom_merge":
        shared[KEYED]["merge"] = "python:merge.py"
    if random.below(2):
        shared[DOWN] = {"direction": "cloud_to_edge", "partitions": 1 + random.below(2)}
    if random.below(2):
        shared[BOTH] = {"direction": "bidirectional", "partitions": 1}
    return shared


def _config(random, i, shared):
    given = config_of(random, i)
    given["sync_topics"] = given["sync_topics"][:1]
    given["local_topics"] = []
    given["sync"]["max_queue_size"] = 0
    given["resources"]["max_storage"] = 0
    for topic in sorted(shared):
        if topic == KEYED or random.below(4):
            row = dict(shared[topic])
            row["topic"] = topic
            given["sync_topics"].append(row)
    return given


def _write(random, plan):
    """One write, or one of a key by everybody at about the same time."""
    at_ms = random.below(plan.duration_ms)
    topic = pick(random, [KEYED] * 6 + ["a"] + sorted(plan.shared))
    size = pick(random, (12, 30, KEYED_BYTES_MAX))
    who = random.below(len(plan.machines) + 1) - 1
    if topic != KEYED:
        if who == HUB:
            takes = sorted(plan.shared)
        else:
            takes = [row["topic"] for row in plan.machines[who]["sync_topics"] if row["topic"] != DOWN]
        if topic not in takes:
            return
        plan.writes.append((at_ms, who, pick(random, ("bare", "bare", "full")), topic, 1 + random.below(9), size))
        return
    key = random.below(KEYS)
    for writer in range(HUB, len(plan.machines)) if random.below(5) == 0 else (who,):
        kind = pick(random, ("put", "put", "put", "delete"))
        plan.writes.append((min(at_ms + random.below(50), plan.duration_ms - 1), writer, kind, KEYED, key, size))
