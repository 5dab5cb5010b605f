"""`streamline-cloud get`, `keys` and `conflicts`: what keyed topics show at the cloud, and why.

Rule: without --json a value is printed byte for byte with a line end, as `read` does; what a person should know of the rule goes to
stderr. Must not know: the bridge, SQL.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamline_core.conflict import BOTH
from streamline_core.errors import UsageError
from streamline_core.tables import check_key
from streamline_host.codecs import codecs
from streamline_host.merge_module import load_merge

from .control_wire import text_or_base64
from .list_commands import show
from .read_command import rfc3339
from .shown import Rule, Shown
from .store_reader import StoreReader
from .store_schema import path_of
from .stored_tables import Standing

if TYPE_CHECKING:
    from streamline_core.conflict import Merge

TEXT_CHARS_MAX = 60


def get(arguments: argparse.Namespace) -> int:
    """The value of a key. Returns 0, or 1 where there is none."""
    with _open(arguments) as reader:
        key, shown = _shown(reader, arguments.topic, os.fsencode(arguments.key), _merge(arguments))
    if arguments.json:
        print(json.dumps(_json(arguments.topic, key, shown), ensure_ascii=False))
        return 1 if shown.value is None else 0
    _note(shown)
    if shown.value is None:
        why = "it is deleted" if shown.versions else "nobody ever wrote it"
        print("streamline-cloud: key %s of topic %s has no value: %s" % (text(key), arguments.topic, why), file=sys.stderr)
        return 1
    if shown.resolution is not None and shown.resolution.kind == BOTH and len(shown.versions) > 1:
        hint = "`streamline-cloud conflicts explain` shows them"
        print("streamline-cloud: %d versions of it stand, this is the latest; %s" % (len(shown.versions), hint), file=sys.stderr)
    sys.stdout.flush()
    sys.stdout.buffer.write(shown.value + b"\n")
    return 0


def keys(arguments: argparse.Namespace) -> int:
    """The keys that are not deleted, sorted, each on a line. Returns 0."""
    with _open(arguments) as reader:
        reader.keyed_topic(arguments.topic)
        found = reader.tables.keys(arguments.topic, os.fsencode(arguments.prefix))
        if arguments.json:
            print(json.dumps([text_or_base64(key) for key in found], ensure_ascii=False))
        else:
            for key in found:
                sys.stdout.buffer.write(key + b"\n")
    return 0


def conflicts(arguments: argparse.Namespace) -> int:
    """`conflicts`, `conflicts TOPIC`, or `conflicts explain TOPIC KEY`. Returns 0."""
    words: list[str] = arguments.words
    if words[:1] == ["explain"] and len(words) == 3:
        return _explain(arguments, words[1], os.fsencode(words[2]))
    if len(words) > 1 or words == ["explain"]:
        raise UsageError("write it as `conflicts`, `conflicts TOPIC` or `conflicts explain TOPIC KEY`")
    merge = _merge(arguments)
    with _open(arguments) as reader:
        if words:
            reader.keyed_topic(words[0])
        found = [(topic, *_shown(reader, topic, key, merge)) for topic, key in reader.tables.conflicts(*words)]
    if arguments.json:
        print(json.dumps([_json(*row) for row in found], ensure_ascii=False))
        return 0
    for note in sorted({shown.note for _, _, shown in found if shown.note}):
        print("streamline-cloud: %s" % note, file=sys.stderr)
    header = ("topic", "part", "key", "type", "versions", "written by", "resolution", "shown")
    show("conflicts", header, [_line(*row) for row in found if row[2].conflict is not None], numbers_from=1)
    return 0


def _line(topic: str, key: bytes, shown: Shown) -> tuple[str, ...]:
    assert shown.conflict is not None and shown.resolution is not None
    writers = ", ".join(dict.fromkeys(row.version.origin for row in shown.versions))
    versions = str(len(shown.versions))
    return topic, str(shown.partition), text(key), shown.conflict.type, versions, writers, shown.resolution.kind, _value(shown.value)


def _explain(arguments: argparse.Namespace, topic: str, key: bytes) -> int:
    with _open(arguments) as reader:
        _, shown = _shown(reader, topic, key, _merge(arguments))
    if arguments.json:
        print(json.dumps(_json(topic, key, shown), ensure_ascii=False))
        return 0
    if not shown.versions:
        print("key %s of topic %s: nobody ever wrote it" % (text(key), topic))
        return 0
    kind = shown.conflict.type if shown.conflict is not None else "no conflict"
    print("key %s of topic %s, partition %d: %s; versions that stand: %d" % (text(key), topic, shown.partition, kind, len(shown.versions)))
    winners = shown.winners
    for row in shown.versions:
        for line in _about(row, row.version.dot in winners):
            print(line)
    resolution = shown.resolution
    if resolution is not None:
        if shown.note:
            print("note: %s" % shown.note)
        print("rule: %s" % resolution.rule)
        if resolution.failed:
            print("merge failed: %s" % resolution.failed)
        print("resolution: %s" % resolution.kind)
    print("shown: %s" % _value(shown.value))
    return 0


def _about(row: Standing, shown: bool) -> list[str]:
    version = row.version
    seen = ["%s/%08x below %d" % (*writer, version.context[writer]) for writer in sorted(version.context)]
    return [
        "%s %s" % ("*" if shown else " ", _value(version.value)),
        "    written by %s (%s), epoch %08x, offset %d" % (version.origin, version.side, version.epoch, version.offset),
        "    cloud offset %d" % row.cloud_offset,
        "    at %s by the clock of %s, %s" % (rfc3339(version.hlc >> 16) or "no time", version.origin, _clock(row)),
        "    had seen: %s" % (", ".join(seen) or "nothing of this key"),
    ]


def _clock(row: Standing) -> str:
    if row.version.demoted:
        return "which is held for absurd (far ahead when it came): it counts as one that was never set"
    return "which was set" if row.version.trusted else "which nobody had set: it loses to those that were"


def _json(topic: str, key: bytes, shown: Shown) -> dict[str, Any]:
    """A key with all that stands of it."""
    winners, resolution = shown.winners, shown.resolution
    return {
        "topic": topic,
        "partition": shown.partition,
        "key": text_or_base64(key),
        "value": None if shown.value is None else text_or_base64(shown.value),
        "conflict": None if shown.conflict is None else shown.conflict.type,
        "resolution": None if resolution is None else resolution.kind,
        "rule": None if resolution is None else resolution.rule,
        "merge_failed": None if resolution is None else resolution.failed,
        "note": shown.note,
        "versions": [_version_json(row, row.version.dot in winners) for row in shown.versions],
    }


def _version_json(row: Standing, shown: bool) -> dict[str, Any]:
    """time: by the writer's clock; trusted: whether that was set; had_seen: of each writer, all of this key below that offset."""
    version = row.version
    return {
        "node": version.origin,
        "epoch": "%08x" % version.epoch,
        "offset": version.offset,
        "cloud_offset": row.cloud_offset,
        "side": version.side,
        "time": rfc3339(version.hlc >> 16),
        "trusted": version.trusted,
        "demoted": version.demoted,
        "timestamp": row.record.timestamp_ms,
        "value": None if version.value is None else text_or_base64(version.value),
        "headers": {name: text_or_base64(content) for name, content in row.record.headers},
        "had_seen": [{"node": w[0], "epoch": "%08x" % w[1], "below": version.context[w]} for w in sorted(version.context)],
        "shown": shown,
    }


def _open(arguments: argparse.Namespace) -> StoreReader:
    return StoreReader(Path(path_of(arguments.store)), codecs("zstd"))


def _merge(arguments: argparse.Namespace) -> "tuple[Merge, bytes] | None":
    return None if arguments.merge is None else load_merge(arguments.merge, os.curdir)


def _shown(reader: StoreReader, topic: str, key: bytes, merge: "tuple[Merge, bytes] | None") -> tuple[bytes, Shown]:
    definition = reader.keyed_topic(topic).definition
    return key, Rule(topic, definition, merge).show(key, reader.tables.versions(topic, check_key(key)))


def _note(shown: Shown) -> None:
    if shown.note:
        print("streamline-cloud: %s" % shown.note, file=sys.stderr)


def _value(value: bytes | None) -> str:
    return "deleted" if value is None else text(value)


def text(data: bytes) -> str:
    """For a line on a terminal: nothing in it can leave its place."""
    try:
        found = data.decode()
    except UnicodeDecodeError:
        return "%d bytes, no text" % len(data)
    if not found.isprintable() or not found:
        found = repr(found)
    return found if len(found) <= TEXT_CHARS_MAX else "%s… (%d bytes)" % (found[:TEXT_CHARS_MAX], len(data))
