"""The keys of a configuration as variables of the environment: STREAMLINE_EDGE_SYNC__INTERVAL_SECS is sync.interval_secs.

Rule: every key of the tables has a variable, except those in entries of lists; a list is one variable, as YAML. An empty variable is as
none. A variable with the prefix that is no key is a problem: it was meant to be one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from streamline_core.config import path_text
from streamline_core.config_tables import LISTS, TABLE
from streamline_core.config_values import (
    nearest,
    read_any,
    read_choice,
    read_condition,
    read_endpoint,
    read_node_id,
    read_text,
    read_topic,
    read_url,
)

from .config_reading import Place, Problem
from .yaml_values import KeyPath, YamlError, YamlValues

PREFIX = "STREAMLINE_EDGE_"
# Whatever text these hold is taken as it is; others are YAML, in which 30 is a number and [a, b] a list.
TEXT_KINDS: tuple[Callable[..., object], ...] = (read_choice, read_condition, read_endpoint, read_node_id, read_text, read_topic, read_url)
# Kubernetes gives these to every container where there is a service of the name streamline-edge; they are no keys.
_SERVICE_LINK = re.compile(r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)?)")


class Setting(NamedTuple):
    """A variable that is a key."""

    path: KeyPath
    kind: Callable[..., object]


def settings() -> dict[str, Setting]:
    """All variables there are, by name."""
    found = {}
    for section, key, kind, _, _ in TABLE:
        path = (*filter(None, section.split(".")), key)
        found[PREFIX + "__".join(path).upper()] = Setting(path, kind)
    for name in LISTS:
        found[PREFIX + name.upper()] = Setting((name,), read_any)
    return found


def read(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[tuple[KeyPath, Any, Place]]:
    """The key path, the value and the place of each variable that is set. problems: gets what is wrong with them."""
    known = settings()
    for name in sorted(environ):
        if not name.startswith(PREFIX) or not environ[name]:
            continue
        setting, place = known.get(name), Place(name)
        if setting is None:
            if not _SERVICE_LINK.fullmatch(name, len(PREFIX)):
                problems.append(Problem(place, "", _unknown(name, list(known))))
        elif setting.kind in TEXT_KINDS:
            yield setting.path, environ[name], place
        else:
            try:
                values = YamlValues(environ[name])
            except YamlError as e:
                problems.append(Problem(place, path_text(setting.path), str(e)))
                continue
            problems += [Problem(place, path_text((*setting.path, *path)), text) for _, path, text in values.problems]
            yield setting.path, values.value, place


def _unknown(name: str, known: list[str]) -> str:
    near = nearest(name[len(PREFIX) :], [one[len(PREFIX) :] for one in known])
    return "unknown variable; " + (f"did you mean {PREFIX}{near}?" if near else "unset it, or see the keys with: edge config show")
