"""Batches as docs/FORMAT.md has them, read by nobody's code but this: what checkers look at bytes with.

Rule: imports nothing of the core, so that a mistake there cannot hide itself here. Contents are what `model` made: text up to
the first `|`.
"""

import binascii
import struct

HEADER_BYTES = 64


class Found:
    """A batch at byte `at` of some bytes. `sound`: both CRCs are right."""

    def __init__(self, at, fields, data, sound):
        self.at = at
        self.flags, self.length, self.count, self.span, self.base = fields[2:7]
        self.hlc = fields[7]
        self.term, self.producer, self.sequence, self.behind = fields[8:12]
        self.next = self.base + self.span
        self.control = self.flags & 4 != 0
        self.sound = sound
        self._data = data

    def contents(self):
        """[(offset, content key)] of its records."""
        if self.control:
            return []
        body = bytes(self._data[self.at + HEADER_BYTES : self.at + self.length])
        found = []
        if self.flags & 1:
            at = 2 * self.count
            for i in range(self.count):
                length = body[2 * i] | body[2 * i + 1] << 8
                found.append((self.base + i, _key(body[at : at + length])))
                at += length
            return found
        at, offset = 0, self.base
        for _ in range(self.count):
            record = Record(body, at, offset)
            found.append((record.offset, record.content))
            at, offset = record.end, record.offset + 1
        return found

    def versions(self):
        """Its records as `Record`s, those of a general batch."""
        found = []
        if not self.flags & 5:
            body = bytes(self._data[self.at + HEADER_BYTES : self.at + self.length])
            at, offset = 0, self.base
            for _ in range(self.count):
                record = Record(body, at, offset)
                found.append(record)
                at, offset = record.end, record.offset + 1
        return found


class Record:
    """A record of a general batch. A deletion has no value: its content key is its first header."""

    def __init__(self, body, at, offset):
        flags = body[at]
        skipped, at = _varint(body, at + 1)
        _, at = _varint(body, at)
        self.offset = offset + skipped
        self.key = header = None
        self.extension = b""
        if flags & 1:
            self.key, at = _bytes(body, at)
        if flags & 4:
            _, at = _varint(body, at)
        if flags & 2:
            headers, at = _varint(body, at)
            for _ in range(headers):
                _, at = _bytes(body, at)
                header, at = _bytes(body, at)
        if flags & 16:
            self.extension, at = _bytes(body, at)
        value, self.end = _bytes(body, at)
        self.value = None if flags & 8 else value
        self.content = header.decode() if self.value is None else _key(value)


class Extension:
    """What a version carries. dot: (origin, epoch, offset) where it is in another log than its writer's, else None; seen: {(origin, epoch):
    next offset}."""

    def __init__(self, data):
        kind, flags = data[0], data[1]
        self.cloud, self.trusted, self.demoted = flags & 1 != 0, not flags & 2, flags & 4 != 0
        self.dot, self.hlc, self.seen = None, 0, {}
        at = 2
        if kind == 2:
            writer, at = _writer(data, at)
            offset, at = _varint(data, at)
            self.dot = writer + (offset,)
            self.hlc = struct.unpack_from("<Q", data, at)[0]
            at += 8
        count, at = _varint(data, at)
        for _ in range(count):
            writer, at = _writer(data, at)
            self.seen[writer], at = _varint(data, at)


def _writer(data, at):
    end = at + 1 + data[at]
    return (bytes(data[at + 1 : end]).decode(), struct.unpack_from("<I", data, end)[0]), end + 4


def _bytes(data, at):
    n, at = _varint(data, at)
    return data[at : at + n], at + n


def _key(value):
    return bytes(value).split(b"|")[0].decode()


def _varint(data, at):
    n = shift = 0
    while True:
        b = data[at]
        at += 1
        n |= (b & 127) << shift
        if b < 128:
            return n, at
        shift += 7


def header_at(data, at):
    """The batch whose header is whole at byte `at`, or None."""
    if len(data) - at < HEADER_BYTES or data[at] != 0x5E or data[at + 1] != 0xB1:
        return None
    fields = struct.unpack_from("<HBBIIIQQIQQIII", data, at)
    if binascii.crc32(bytes(data[at : at + 60])) != fields[13]:
        return None
    end = at + fields[3]
    sound = end <= len(data) and binascii.crc32(bytes(data[at + HEADER_BYTES : end])) == fields[12]
    return Found(at, fields, data, sound)


def parse_batches(data):
    """All sound batches that lie one after another from the start."""
    found, at = [], 0
    while at < len(data):
        batch = header_at(data, at)
        if batch is None or not batch.sound:
            break
        found.append(batch)
        at += batch.length
    return found


def batches_anywhere(data):
    """All sound batches, also those behind bytes that make no sense."""
    found, at = [], 0
    while at + HEADER_BYTES <= len(data):
        batch = header_at(data, at)
        if batch is not None and batch.sound:
            found.append(batch)
            at += batch.length
        else:
            at = bytes(data).find(b"\x5e\xb1", at + 1)
            if at < 0:
                break
    return found
