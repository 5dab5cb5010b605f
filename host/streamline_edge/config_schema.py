"""The JSON Schema of `edge.yaml`, made from the tables of keys, so that an editor knows them.

Rule: what the schema refuses the agent refuses, too; what only several keys together, or text with a unit, can get wrong it leaves to the
agent. Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from streamline_core.config_tables import (
    CONSUMER_TABLE,
    CONSUMERS_MAX,
    INGEST_RULES_MAX,
    INGEST_TABLE,
    LINE_TABLE,
    LINES_MAX,
    LOCAL_KEYS,
    NOT_BUILT,
    OPTIONAL_SECTIONS,
    SECTIONS,
    TABLE,
    TOPIC_TABLE,
    TOPICS_MAX,
)
from streamline_core.config_values import (
    CONDITIONS,
    LINE_SCHEMES,
    PORT_SCHEMES,
    REQUIRED,
    SCHEMES,
    TEXT_CHARS_MAX,
    WINDOWS_MAX,
    read_any,
    read_bool,
    read_choice,
    read_condition,
    read_endpoint,
    read_filter,
    read_int,
    read_ms,
    read_node_id,
    read_number,
    read_port,
    read_priorities,
    read_secs,
    read_size,
    read_text,
    read_topic,
    read_url,
    read_windows,
)
from streamline_core.stream import NODE_ID_CHARS_MAX, TOPIC_CHARS_MAX

from . import config_texts

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SIZE_PATTERN = r"^[0-9]{1,15}\s*([KkMmGg][Ii]?)?[Bb]\s*$"
TIME_PATTERN = r"^[0-9]{1,15}\s*([Mm][Ss]|[SsMmHhDd])\s*$"
FILTER_PATTERN = r"^([^+#/]*|\+)(/([^+#/]*|\+))*(/#)?$|^#$"
WINDOW_PATTERN = r"^\s*[A-Za-z,-]* ?([0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2})?\s*$"

Schema = dict[str, Any]


def schema() -> Schema:
    """Of a whole file, whose outermost key may be `edge`."""
    return {
        "$schema": DIALECT,
        "title": "edge.yaml, the configuration of a Streamline edge",
        "type": "object",
        "if": {"required": ["edge"]},
        "then": {"properties": {"edge": {"$ref": "#/$defs/edge"}}, "additionalProperties": False},
        "else": {"$ref": "#/$defs/edge"},
        "$defs": {"edge": _section("")},
    }


def _section(name: str) -> Schema:
    """The keys of a section, and the sections in it."""
    honoured = {(section, key): values for section, key, values in NOT_BUILT}
    rows = []
    for section, key, kind, default, allowed in TABLE:
        if section == name:
            value = _value(kind, allowed) if (section, key) not in honoured else {"enum": list(honoured[section, key])}
            rows.append((key, value, default, config_texts.KEYS[f"{section}.{key}" if section else key]))
    found = _object(rows)
    for inner, _ in SECTIONS:
        if inner.rpartition(".")[0] == name:
            made = _section(inner)
            if inner not in OPTIONAL_SECTIONS:
                made.pop("required", None)
            found["properties"][inner.rpartition(".")[2]] = {"description": config_texts.SECTIONS[inner], **_or_none(made)}
    if not name:
        found["properties"] |= _lists()
    return found


def _lists() -> dict[str, Schema]:
    local = [row for row in TOPIC_TABLE if row[0] in LOCAL_KEYS]
    rows = {
        "sync_topics": (TOPIC_TABLE, config_texts.OF_TOPICS, TOPICS_MAX),
        "local_topics": (local, config_texts.OF_TOPICS, TOPICS_MAX),
        "consumers": (CONSUMER_TABLE, config_texts.OF_CONSUMERS, CONSUMERS_MAX),
        "ingest": (INGEST_TABLE, config_texts.OF_INGEST, INGEST_RULES_MAX),
        "serial": (LINE_TABLE, config_texts.OF_LINES, LINES_MAX),
    }
    found = {}
    for name, (table, texts, most) in rows.items():
        entry = _object([(key, _value(kind, allowed), default, texts[key]) for key, kind, default, allowed in table])
        items = {"anyOf": [_value(read_topic, None), entry]} if texts is config_texts.OF_TOPICS else entry
        found[name] = {"description": config_texts.LISTS[name], "type": ["array", "null"], "maxItems": most, "items": items}
    return found


def _object(rows: Iterable[tuple[str, Schema, Any, str]]) -> Schema:
    """rows: key, what its value may be, its default, its text."""
    properties, required = {}, []
    for key, value, default, text in rows:
        made = {"description": text, **(value if default is REQUIRED else _or_none(value))}
        if default is REQUIRED:
            required.append(key)
        elif default not in (None, ""):  # which only say that it is not given
            made["default"] = list(default) if isinstance(default, tuple) else default
        properties[key] = made
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | {"required": required} if required else found


def _or_none(value: Schema) -> Schema:
    """A key without a value is as one that is not there."""
    if "enum" in value:
        return value | {"enum": [*value["enum"], None]} if None not in value["enum"] else value
    if "anyOf" in value:
        return value | {"anyOf": [*value["anyOf"], {"type": "null"}]}
    return value | {"type": [value["type"], "null"]} if "type" in value else value


def _value(kind: Callable[..., object], allowed: Any) -> Schema:
    return _KINDS[kind](allowed)


def _text(pattern: str) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX, "pattern": pattern}


def _name(chars_max: int) -> Schema:
    return {"type": "string", "pattern": f"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{chars_max - 1}}}$"}


def _range(type: str, allowed: tuple[int, int]) -> Schema:
    return {"type": type, "minimum": allowed[0], "maximum": allowed[1]}


def _with_unit(pattern: str) -> Callable[[tuple[int, int]], Schema]:
    return lambda allowed: {"anyOf": [_range("integer", allowed), {"type": "string", "pattern": pattern}]}


def _url(words: tuple[str, ...]) -> Schema:
    url = _text(f"^({'|'.join(SCHEMES)})://[\\s\\S]")
    return {"anyOf": [{"enum": list(words)}, url]} if words else url


_KINDS: dict[Callable[..., object], Callable[[Any], Schema]] = {
    read_any: lambda _: {},
    read_bool: lambda _: {"type": "boolean"},
    read_choice: lambda words: {"enum": list(words)},
    read_condition: lambda _: _text(f"^({'|'.join(CONDITIONS)})\\s*\\S"),
    read_endpoint: lambda _: _text(f"^({'|'.join(SCHEMES + LINE_SCHEMES).replace('+', '[+]')})://[\\s\\S]"),
    read_filter: lambda _: _text(FILTER_PATTERN),
    read_int: lambda allowed: _range("integer", allowed),
    read_ms: _with_unit(TIME_PATTERN),
    read_node_id: lambda _: _name(NODE_ID_CHARS_MAX),
    read_number: lambda allowed: _range("number", allowed),
    read_port: lambda _: _text(f"^(/[\\s\\S]|({'|'.join(PORT_SCHEMES)})://[^/?]+:[0-9]+([/?][\\s\\S]*)?$)"),
    read_priorities: lambda _: {
        "type": "object", "propertyNames": _name(TOPIC_CHARS_MAX), "additionalProperties": _range("integer", (1, 10)),
    },
    read_secs: _with_unit(TIME_PATTERN),
    read_size: _with_unit(SIZE_PATTERN),
    read_text: lambda _: {"type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX},
    read_topic: lambda _: _name(TOPIC_CHARS_MAX),
    read_url: _url,
    read_windows: lambda _: {"type": "array", "maxItems": WINDOWS_MAX, "items": {"type": "string", "pattern": WINDOW_PATTERN}},
}  # fmt: skip
