"""The limits that an operator has set on a running node: they come before the configuration's, over restarts.

Rule: a limit that the node cannot keep is refused with what it needs, and nothing changes; a file of limits that cannot be read is refused,
never ignored: it may hold a limit that a disk depends on. Must not know: where the file lies.
"""

from .errors import UsageError
from .resources import KEYS, KINDS, MEMORY
from .whole_json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .config import EdgeConfig
    from .node import Node

LIMITS_NAME = "limits.json"  # in the data directory
FILE_BYTES_MAX = 4096
POLICY = "eviction_policy"


def parse(text: "bytes | str") -> "dict[str, Any]":
    """{kind: limit, "eviction_policy": policy} of a file. Raises ValueError where it is none."""
    limits = loads(text if isinstance(text, str) else str(text, "utf-8"))
    if not isinstance(limits, dict):
        raise ValueError("not a mapping")
    for key in limits:
        value = limits[key]
        if not (isinstance(value, str) if key == POLICY else key in KINDS and type(value) is int):
            raise ValueError("%s: %r" % (key, value))
    return limits


def refused(path: str, why: str) -> UsageError:
    """What is raised where the file cannot be read."""
    return UsageError("%s: %s; remove it, and set the limits again" % (path, why))


def limits_of(config: "EdgeConfig") -> "dict[str, Any]":
    """{kind: limit, "eviction_policy": policy}"""
    limits = {kind: getattr(config.resources, KEYS[kind]) for kind in KINDS}
    limits[POLICY] = config.resources.eviction_policy
    return limits


def lay(config: "EdgeConfig", limits: "dict[str, Any]") -> None:
    """Put limits over those of a configuration."""
    for kind in limits:
        setattr(config.resources, KEYS.get(kind, kind), limits[kind])


def change(
    node: "Node",
    configured: "dict[str, Any]",
    kept: "dict[str, Any]",
    keep: "Callable[[dict[str, Any]], None]",
    limits: "dict[str, int]",
    policy: "str | None" = None,
    reset: bool = False,
) -> None:
    """Set limits for good, all or none: {kind: limit}, kinds as in `resources`. configured: as `limits_of` said of the configuration; kept:
    what an operator has set until now; keep: writes it down, durably. reset: those of the configuration hold again, except for these.
    Raises UsageError with what the node needs, OSError where it cannot be kept."""
    from .config_tables import EVICTION_POLICIES

    if policy is not None and policy not in EVICTION_POLICIES:
        raise UsageError("policy %r is not allowed; use one of %s" % (policy, ", ".join(EVICTION_POLICIES)))
    wanted = {} if reset else dict(kept)
    wanted.update(limits)
    if policy is not None:
        wanted[POLICY] = policy
    values = dict(configured)
    values.update(wanted)
    resources, before = node.resources, limits_of(node.config)
    if MEMORY not in resources.needed:
        resources.opened()  # made just now: nobody had asked what it needs
    resources.check_all({kind: values[kind] for kind in values if kind != POLICY})
    keep(wanted)  # before anything is given back for it, and the policy goes with the limits: it says what that is
    try:
        lay(node.config, values)
        resources.changed()
    except MemoryError:
        lay(node.config, before)
        resources.changed()
        keep(kept)
        raise
