"""`streamline-cloud read`: the records of a topic, across all edges.

Rule: without --json a record is its value and a line end, byte for byte; a chunk that cannot be read is reported and
skipped, and the exit code says so. Must not know: the bridge.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streamline_core.errors import CorruptRecord, UsageError
from streamline_core.record import Record
from streamline_host.codecs import codecs

from .chunk_records import StoredChunk, chunk_values
from .control_wire import text_or_base64
from .store_reader import StoreReader, TopicRow, numbered_records
from .store_schema import path_of

FOLLOW_SECS = 0.2


def read(arguments: argparse.Namespace) -> int:
    """Print what was asked for. Returns 0, or 1 if a chunk was unreadable. Raises UsageError, BrokenPipeError."""
    degraded = False
    with StoreReader(Path(path_of(arguments.store)), codecs("zstd")) as reader:
        topic = reader.topic(arguments.topic)
        partition = _check(arguments, topic, reader)
        start = arguments.start or 0
        out = sys.stdout.buffer
        for chunk in _chunks(reader, arguments, partition, start):
            if chunk is None:
                out.flush()  # nothing more for now: show what there is
                continue
            try:
                if arguments.json:
                    _print_json(chunk, arguments.topic, reader, start)
                else:
                    values = chunk_values(chunk, reader.codecs)
                    if chunk.cloud_offset < start:
                        values = values[start - chunk.cloud_offset :]
                    values.append(b"")
                    out.write(b"\n".join(values))
            except CorruptRecord as error:
                degraded = True
                print("streamline-cloud: %s" % error, file=sys.stderr)
        out.flush()
    return 1 if degraded else 0


def _check(arguments: argparse.Namespace, topic: TopicRow, reader: StoreReader) -> int | None:
    """The one partition to read, or None for all. Raises UsageError naming what is possible."""
    if arguments.node is not None:
        reader.ledger(arguments.node)
    partitions = max([topic.partitions, *[partition + 1 for partition in topic.heads]])
    partition: int | None = arguments.partition
    if partition is None and partitions == 1:
        partition = 0
    if partition is not None and not 0 <= partition < partitions:
        raise UsageError("topic %s has partitions 0 to %d, not %d" % (topic.name, partitions - 1, partition))
    if arguments.start is None:
        return partition
    if partition is None:
        raise UsageError("--from counts within one partition, and %s has %d: add --partition P" % (topic.name, partitions))
    head = topic.heads.get(partition, 0)
    if arguments.start > head and not arguments.follow:
        raise UsageError(
            "--from %d: partition %d of %s ends at cloud offset %d so far; use at most that, or --follow to wait"
            % (arguments.start, partition, topic.name, head)
        )
    return partition


def _chunks(reader: StoreReader, arguments: argparse.Namespace, partition: int | None, start: int) -> Iterator[StoredChunk | None]:
    """The chunks to show; with --follow, None each time that there are no more for now."""
    after = 0
    while True:
        for chunk in reader.chunks(arguments.topic, partition, start, arguments.node, after):
            after = chunk.id
            yield chunk
        if not arguments.follow:
            return
        yield None
        time.sleep(FOLLOW_SECS)


def _print_json(chunk: StoredChunk, topic: str, reader: StoreReader, start: int) -> None:
    lines = []
    for cloud_offset, _, record in numbered_records(chunk, reader.codecs, start):
        later_ms = 0 if record.trusted else reader.later_ms(chunk, record.offset)
        lines.append(json.dumps(record_json(cloud_offset, chunk, topic, record, later_ms), ensure_ascii=False))
    lines.append("")
    sys.stdout.buffer.write("\n".join(lines).encode())


def record_json(cloud_offset: int, chunk: StoredChunk, topic: str, record: Record, later_ms: int | None) -> dict[str, Any]:
    """time: when the node accepted it; where nobody had set its clock, as the node found out later, or null; timestamp: the application's,
    ms since 1970, or null. later_ms: to be added to the stamp, None where that is not known."""
    return {
        "cloud_offset": cloud_offset,
        "node": chunk.node,
        "topic": topic,
        "partition": chunk.partition,
        "epoch": "%08x" % chunk.epoch,
        "offset": record.offset,
        "time": rfc3339((record.hlc >> 16) + later_ms) if later_ms is not None else None,
        "timestamp": record.timestamp_ms,
        "key": None if record.key is None else text_or_base64(record.key),
        "value": text_or_base64(record.value),
        "headers": {name: text_or_base64(content) for name, content in record.headers},
    }


def rfc3339(time_ms: int) -> str | None:
    """UTC with milliseconds; None for a time that no calendar has."""
    try:
        moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return "%s.%03dZ" % (moment.strftime("%Y-%m-%dT%H:%M:%S"), time_ms % 1000)
