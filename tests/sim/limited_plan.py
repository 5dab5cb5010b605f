"""Plans of the limited world: nodes with every policy for what is too much, topics of different weight, and a gate that opens and shuts.

Rule: data, as in plan.py. Must not know: how a fault is done.
"""

from plan import WORLDS, _write, config_of, fault_of, hub_options, pick

PARKED = "file:parked"


def fill(plan, random):
    machines, faults, writes, table = WORLDS["limited"]
    plan.duration_ms = 20000 + 10000 * random.below(3)
    plan.hub = hub_options(random)
    for i in range(1 + random.below(machines)):
        plan.machines.append(_config(random, i))
        plan.disks.append(pick(random, (0, 3, 10, 40)))
        plan.clocks.append((pick(random, (0, 0, -3600000, None)), pick(random, (0, 0, 10, -10))))
    for _ in range(writes):
        plan.writes.append(_write(random, plan))
    for _ in range(faults):
        plan.faults.append(fault_of(random, plan, table))
    plan.writes.sort()
    plan.faults.sort()


def _config(random, i):
    given = config_of(random, i)
    segment_bytes = given["log"]["segment_bytes"]
    given["sync_topics"] = [{"topic": "a"}, {"topic": "b", "partitions": 2}, {"topic": "d"}]
    for entry in given["sync_topics"]:
        entry["priority"] = 1 + random.below(10)
        entry["urgent"] = random.below(4) == 0
        entry["queue_full"] = pick(random, ("reject", "block", "evict", "evict"))
    given["sync"]["max_queue_size"] = pick(random, (0, 40, 150))
    given["sync"]["max_queue_bytes"] = pick(random, (0, 0, 8 * segment_bytes))
    given["sync"]["batch_size"] = pick(random, (0, 5, 50))
    given["sync"]["backlog_percent"] = pick(random, (1, 50, 99))
    given["sync"]["interval_secs"] = pick(random, (0, 0, 2))
    given["resources"]["max_storage"] = pick(random, (0, 12 * segment_bytes, 24 * segment_bytes))
    given["resources"]["eviction_policy"] = pick(random, ("oldest", "priority", "lru", "reject", "compact"))
    if random.below(2):
        given["sync"]["condition"] = PARKED
    return given
