"""Readings of the machine it runs on, from /proc: load and memory.

Rule: a reading that cannot be had is left out, not invented. Must not know: links, logs.
"""

import ujson

LOAD = "load"
MEMORY = "memory"


class ProcSource:
    """Produces to the topics `load` and `memory` (those of them that are configured) every `interval_ms`."""

    def __init__(self, topics, interval_ms=200):
        self._topics = topics
        self._interval_ms = interval_ms
        self._at_ms = 0

    def produce(self, node, now_ms):
        """Produce if it is time. Returns when to come again (monotonic ms). Raises QueueFull, StorageFull."""
        if now_ms >= self._at_ms:
            self._at_ms = now_ms + self._interval_ms
            if LOAD in self._topics:
                load = _words("/proc/loadavg")
                up = _words("/proc/uptime")
                if load and up:
                    node.produce(LOAD, ujson.dumps({"load": load[0], "tasks": load[3], "uptime_secs": up[0]}).encode())
            if MEMORY in self._topics:
                free = _memory_available()
                if free:
                    node.produce(MEMORY, ujson.dumps({"available_kb": free}).encode(), b"ram")
        return self._at_ms


def _words(path):
    try:
        with open(path) as file:
            return file.readline().split()
    except OSError:
        return []


def _memory_available():
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
