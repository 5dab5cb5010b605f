"""The text of an `edge.yaml` that explains itself: what is set, and every other key commented out with its default.

Rule: a setting that is commented out begins with # and no space, so that what is left without the # is well, too. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from streamline_core.config_tables import CONSUMER_TABLE, INGEST_TABLE, LINE_TABLE, LISTS, SECTIONS, TABLE, TOPIC_TABLE
from streamline_core.config_values import REQUIRED, read_size

from . import config_texts

EXAMPLES = {"location.lat": 37.7749, "location.lon": -122.4194}  # of what has no default
TEXT_COLUMN = 40
UNITS = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))
OF_LISTS = {
    "consumers": (CONSUMER_TABLE, config_texts.OF_CONSUMERS),
    "ingest": (INGEST_TABLE, config_texts.OF_INGEST),
    "serial": (LINE_TABLE, config_texts.OF_LINES),
}
HEAD = """# The configuration of a Streamline edge. A setting that begins with # has the value that is shown: the default.
# Check it with: streamline-cli edge config check FILE
edge:"""


def template(given: dict[str, Any]) -> str:
    """given: what is set, in the shape of edge.yaml; entries of lists with keys."""
    lines = [HEAD, *_section("", given, 1)]
    for name in LISTS:
        lines += ["", *_list(name, given.get(name))]
    for name, _ in SECTIONS:
        if "." not in name:
            lines += ["", *_with_heading(name, given.get(name) or {}, 1)]
    return "\n".join(lines) + "\n"


def size_text(value: int) -> str | int:
    """Bytes as people write them: 4GB."""
    for factor, unit in UNITS:
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return value


def _with_heading(name: str, given: dict[str, Any], depth: int) -> Iterator[str]:
    yield f"{'  ' * depth}{name.rpartition('.')[2]}:  # {config_texts.SECTIONS[name]}"
    yield from _section(name, given, depth + 1)
    for inner, _ in SECTIONS:
        if inner.rpartition(".")[0] == name:
            yield from _with_heading(inner, given.get(inner.rpartition(".")[2]) or {}, depth + 1)


def _section(name: str, given: dict[str, Any], depth: int) -> Iterator[str]:
    for section, key, kind, default, _ in TABLE:
        if section == name:
            path = f"{section}.{key}" if section else key
            default = EXAMPLES[path] if default is REQUIRED and path in EXAMPLES else default
            yield _setting("  " * depth, key, given.get(key), _shown(kind, default), config_texts.KEYS[path])


def _list(name: str, entries: list[dict[str, Any]] | None) -> Iterator[str]:
    if not entries:
        yield _setting("  ", name, None, [], config_texts.LISTS[name])
        return
    yield f"  {name}:  # {config_texts.LISTS[name]}"
    for i, entry in enumerate(entries):
        entry = {"topic": entry} if isinstance(entry, str) else entry
        table, texts = OF_LISTS.get(name, (TOPIC_TABLE, config_texts.OF_TOPICS))
        rows = [row for row in table if row[0] in entry]
        if name == "sync_topics" and i == 0:
            rows += [row for row in table if row[0] not in entry]
        for n, (key, kind, default, _) in enumerate(rows):
            yield _setting("    " + ("  " if n else "- "), key, entry.get(key), _shown(kind, default), texts[key] if i == 0 else "")


def _shown(kind: object, default: Any) -> Any:
    if kind is read_size and default is not None:
        return size_text(default)
    if default == "":  # which may not be given
        return None
    return list(default) if isinstance(default, tuple) else default


def _setting(indent: str, key: str, value: Any, default: Any, text: str) -> str:
    line = f"{indent}{key}: {_yaml(value)}" if value is not None else f"{indent}#{key}: {_yaml(default)}"
    return f"{line:<{TEXT_COLUMN}}  # {text}" if text else line


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True).removesuffix("\n").removesuffix("\n...")
