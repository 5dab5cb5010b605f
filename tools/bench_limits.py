"""The limits of this machine that the product works against, measured in the same run as the product.

Rule: each is one operation that no design of ours can do without, done as plainly as Python can, by one thread, with
the records that the product gets. The results are rates of records, so that they compare. Must not know: the product.
"""

import os
import socket
import sqlite3
import threading
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import zstandard

BLOCK_RECORDS = 1000
FRAME_RAW_BYTES = 512 * 1024  # what is compressed together
PAYLOAD_BYTES = 64 * 1024
BLOBS_PER_COMMIT = 8
AHEAD_BYTES_MAX = 8 << 20  # beyond what a subscriber has read, a broker may drop messages of QoS 0
SOCKET_SECS = 10


class Limit(NamedTuple):
    """records_s: records per second. note: the same in the unit in which one thinks of it."""

    name: str
    records_s: float
    note: str


def fsync(folder: Path, records: list[bytes], secs: float) -> Limit:
    """Append blocks of 1,000 records to a file, each followed by fsync."""
    block = b"".join(records[:BLOCK_RECORDS])
    path = folder / "fsync"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        count, start = 0, time.perf_counter()
        while (took := time.perf_counter() - start) < secs:
            os.write(fd, block)
            os.fsync(fd)
            count += 1
    finally:
        os.close(fd)
        path.unlink()
    note = "%.0f syncs/s, %.0f MB/s" % (count / took, count * len(block) / took / 1e6)
    return Limit("write + fsync of 1,000 records", count * BLOCK_RECORDS / took, note)


def crc(records: list[bytes], secs: float) -> Limit:
    block = b"".join(records[:300])  # as much as one batch holds
    count, start = 0, time.perf_counter()
    while (took := time.perf_counter() - start) < secs:
        for _ in range(100):
            zlib.crc32(block)
        count += 100
    return Limit("CRC-32 of a batch", count * 300 / took, "%.1f GB/s" % (count * len(block) / took / 1e9))


def zstd(records: list[bytes], secs: float) -> tuple[Limit, float]:
    """Level 3, half a megabyte at once. Returns the limit and the compressed bytes of a record."""
    data = b"".join(records)
    blocks = [data[at : at + FRAME_RAW_BYTES] for at in range(0, len(data) - FRAME_RAW_BYTES, FRAME_RAW_BYTES)] or [data]
    compressor = zstandard.ZstdCompressor(level=3)
    taken = made = 0
    start = time.perf_counter()
    while (took := time.perf_counter() - start) < secs:
        block = blocks[taken // FRAME_RAW_BYTES % len(blocks)]
        made += len(compressor.compress(block))
        taken += len(block)
    record_bytes = len(data) / len(records)
    each = made / (taken / record_bytes)
    return Limit("zstd level 3", taken / record_bytes / took, "%.0f MB/s, %.1f bytes a record" % (taken / took / 1e6, each)), each


def sqlite(folder: Path, bytes_a_record: float, secs: float) -> Limit:
    """Commits of eight 64 KB blobs, WAL, synchronous=FULL."""
    path = folder / "limit.db"
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE blobs (id INTEGER PRIMARY KEY, data BLOB)")
        blob = os.urandom(PAYLOAD_BYTES)
        count, start = 0, time.perf_counter()
        while (took := time.perf_counter() - start) < secs:
            db.execute("BEGIN IMMEDIATE")
            for _ in range(BLOBS_PER_COMMIT):
                db.execute("INSERT INTO blobs (data) VALUES (?)", (blob,))
            db.execute("COMMIT")
            count += BLOBS_PER_COMMIT
    finally:
        db.close()
        for name in ("limit.db", "limit.db-wal", "limit.db-shm"):
            (folder / name).unlink(missing_ok=True)
    rate = count * PAYLOAD_BYTES / took
    note = "%.0f MB/s, %.0f commits/s" % (rate / 1e6, count / BLOBS_PER_COMMIT / took)
    return Limit("SQLite commits of 64 KB blobs", rate / bytes_a_record, note)


def loopback(port: int, bytes_a_record: float, secs: float) -> Limit:
    """QoS 0 messages of 64 KB through the broker, packed beforehand: bare sockets on both sides."""
    receiver, sender = _client(port, b"bench-in"), _client(port, b"bench-out")
    with receiver, sender:
        topic = b"\x00\x05bench"
        receiver.sendall(b"\x82" + bytes((2 + len(topic) + 1,)) + b"\x00\x01" + topic + b"\x00")
        if receiver.recv(5)[:1] != b"\x90":
            raise RuntimeError("the broker did not answer SUBSCRIBE")
        body = topic + os.urandom(PAYLOAD_BYTES)
        packet = b"\x30" + _length(len(body)) + body
        arrived = [0]
        done = threading.Event()

        def receive() -> None:
            buffer = bytearray(1 << 20)
            try:
                while got := receiver.recv_into(buffer):
                    arrived[0] += got
            except OSError:
                pass  # closed: the time is over
            done.set()

        threading.Thread(target=receive, daemon=True).start()
        sent, start = 0, time.perf_counter()
        while (took := time.perf_counter() - start) < secs:
            if sent - arrived[0] > AHEAD_BYTES_MAX:
                time.sleep(0.0005)
                continue
            sender.sendall(packet)
            sent += len(packet)
        rate = arrived[0] / took
        receiver.shutdown(socket.SHUT_RDWR)
        done.wait(SOCKET_SECS)
    return Limit("loopback MQTT, 64 KB, QoS 0", rate / bytes_a_record, "%.0f MB/s through mosquitto" % (rate / 1e6))


def _client(port: int, name: bytes) -> socket.socket:
    """A connected MQTT 3.1.1 client, clean session, no keepalive."""
    connection = socket.create_connection(("127.0.0.1", port), SOCKET_SECS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + len(name).to_bytes(2, "big") + name
    connection.sendall(b"\x10" + _length(len(body)) + body)
    if connection.recv(4) != b"\x20\x02\x00\x00":
        connection.close()
        raise RuntimeError("the broker refused the connection")
    return connection


def _length(size: int) -> bytes:
    """MQTT 3.1.1, section 2.2.3."""
    encoded = bytearray()
    while True:
        size, low = size >> 7, size & 127
        encoded.append(low | (128 if size else 0))
        if not size:
            return bytes(encoded)
