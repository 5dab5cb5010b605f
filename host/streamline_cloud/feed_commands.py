"""`streamline-cloud topics` and `feeds`: what topics there are, and which node has received what of those that flow down.

Rule: a node has what it has confirmed to hold durably; nothing is inferred from what was sent. Must not know: the bridge, SQL.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from streamline_core.errors import UsageError
from streamline_core.feed_filter import wanted_by
from streamline_core.tables import check_key
from streamline_core.topic import TopicDefinition, partition_of
from streamline_host.codecs import codecs

from .list_commands import show
from .read_command import rfc3339
from .store_reader import StoreReader, TopicRow
from .store_schema import path_of
from .stored_tables import FeedRow, Standing
from .table_commands import text

WROTE_IT = "wrote it"
NOT_MEANT = "not sent it"


def topics(arguments: argparse.Namespace) -> int:
    """Every topic that a node offered or that was defined here. Returns 0."""
    with StoreReader(Path(path_of(arguments.store)), codecs("zstd")) as reader:
        rows = [_topic_json(row, reader) for row in reader.topics()]
    if arguments.json:
        print(json.dumps(rows))
        return 0
    header = ("topic", "kind", "direction", "strategy", "partitions", "records", "conflicts", "refused")
    lines = [tuple("-" if row[name] is None else str(row[name]) for name in header) for row in rows]
    show("topics", header, lines, numbers_from=4)
    return 0


def _topic_json(row: TopicRow, reader: StoreReader) -> dict[str, Any]:
    """refused: records that were no version that a sound node can have written."""
    definition = row.definition
    keyed = definition.kind == "keyed"
    return {
        "topic": row.name,
        "kind": definition.kind,
        "direction": definition.direction,
        "partitions": definition.partitions,
        "strategy": definition.strategy if keyed else None,
        "merge_hash": definition.merge_hash.hex(),
        "feed_filter": definition.feed_filter,
        "records": row.records,
        "conflicts": len(reader.tables.conflicts(row.name)) if keyed else None,
        "refused": reader.tables.refused(row.name) if keyed else None,
    }


def feeds(arguments: argparse.Namespace) -> int:
    """How far each node has each feed, or whether it has one record. Returns 0."""
    topic: str | None = arguments.topic
    with StoreReader(Path(path_of(arguments.store)), codecs("zstd")) as reader:
        if topic is None:
            if arguments.offset is not None or arguments.key is not None or arguments.partition is not None:
                raise UsageError("--offset, --key and --partition are of one topic: name it")
            return _show(arguments, reader.tables.feeds(), {})
        row = reader.topic(topic)
        if not row.definition.down:
            raise UsageError("topic %s flows from edges to the cloud only: no node receives it" % topic)
        rows = reader.tables.feeds(topic)
        if arguments.key is not None:
            key = check_key(os.fsencode(arguments.key))
            found = reader.tables.versions(reader.keyed_topic(topic).name, key)
            if not found:
                raise UsageError("key %s of topic %s: nobody ever wrote it" % (text(key), topic))
            rows = [row_ for row_ in rows if row_.partition == partition_of(key, row.partitions)]
            return _show(arguments, rows, {feed.node: _has_key(feed, row.definition, key, found) for feed in rows})
        partition = _partition(arguments, row)
        if partition is not None:
            rows = [feed for feed in rows if feed.partition == partition]
        if arguments.offset is None:
            return _show(arguments, rows, {})
        head = row.heads.get(partition or 0, 0)
        if arguments.offset >= head:
            raise UsageError("--offset %d: partition %d of %s ends at cloud offset %d" % (arguments.offset, partition or 0, topic, head))
        return _show(arguments, rows, {feed.node: "yes" if feed.next > arguments.offset else "no" for feed in rows})


def _partition(arguments: argparse.Namespace, row: TopicRow) -> int | None:
    partition: int | None = arguments.partition
    if partition is None and arguments.offset is not None:
        if row.partitions > 1:
            raise UsageError("--offset counts within one partition, and %s has %d: add --partition P" % (row.name, row.partitions))
        return 0
    if partition is not None and partition >= row.partitions:
        raise UsageError("topic %s has partitions 0 to %d, not %d" % (row.name, row.partitions - 1, partition))
    return partition


def _has_key(feed: FeedRow, definition: TopicDefinition, key: bytes, found: list[Standing]) -> str:
    """Whether a node has all that stands of a key: what it wrote itself is not sent to it."""
    others = [row for row in found if row.version.origin != feed.node]
    if not others:
        return WROTE_IT
    if not wanted_by(definition.feed_filter, feed.node, key):
        return NOT_MEANT
    return "yes" if all(row.cloud_offset < feed.next for row in others) else "no"


def _show(arguments: argparse.Namespace, rows: list[FeedRow], has: dict[str, str]) -> int:
    """has: by node, whether it has what was asked for; empty if nothing was."""
    if arguments.json:
        print(json.dumps([_feed_json(row) | ({"has": has[row.node]} if has else {}) for row in rows]))
        return 0
    header: tuple[str, ...] = ("node", "topic", "has it", "part", "received", "of", "behind", "last confirmed")
    lines: list[tuple[str, ...]] = []
    for row in rows:
        last = "never" if row.changed_ms is None else rfc3339(row.changed_ms) or "-"
        numbers = (row.partition, row.next, row.head, row.behind)
        lines.append((row.node, row.topic, has.get(row.node, ""), *map(str, numbers), last))
    if not has:
        header, lines = header[:2] + header[3:], [line[:2] + line[3:] for line in lines]
    show("feeds", header, lines, numbers_from=2)
    return 0


def _feed_json(row: FeedRow) -> dict[str, Any]:
    """received: all that is meant for it below this cloud offset."""
    return {
        "node": row.node,
        "topic": row.topic,
        "partition": row.partition,
        "received": row.next,
        "head": row.head,
        "behind": row.behind,
        "last_confirmed": None if row.changed_ms is None else rfc3339(row.changed_ms),
    }
