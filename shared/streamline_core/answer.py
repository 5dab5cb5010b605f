"""What a node answers when it is asked how it is, and how an answer becomes JSON.

Rule: asking changes nothing; of what only an answer needs, nothing is loaded before it is asked for, and it can be given back. Must not
know: who asks, and over what.
"""

import json

from .errors import UsageError
from .node import MEASURED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator

    from .health import Seen
    from .node import Node

OPS = ("status", "ledger", "health", "topics", "queue", "resources", "consumers")
WHOLE_DEPTH = 3  # rows of an answer are written one by one, and each as a whole


def said(node: "Node", op: str, own: "dict[str, Callable[[], Any]]") -> "Any":
    """What one of OPS but `health` says. own: {operation: what answers it} where the shell has more to say than the core."""
    if op in own:
        return own[op]()
    if op == "status":
        return node.status()
    if op == "ledger":
        return node.ledger()
    if op == "topics":
        return topics(node)
    if op == "queue":
        return node.queue.status()
    if op == "resources":
        return node.resources.status()
    if op == "consumers":
        return node.consumers.status() if node._consumers is not None else []  # made when first asked for, and nobody has asked
    raise UsageError("unknown operation; known are %s" % ", ".join(OPS))


def health(node: "Node", status: "dict[str, Any]", seen: "Seen | None") -> "tuple[dict[str, Any], Seen]":
    """The report as of now, and what the next look needs to know of this one. seen: of the last look."""
    from .health import Health, limit_problems, waits

    now_ms = node.clock.monotonic_ms()
    looked = Health(now_ms, seen)
    looked.observe(now_ms, status, status["streams"], limit_problems(node), waits(node))
    return looked.report(now_ms), looked.seen


def topics(node: "Node") -> "list[dict[str, Any]]":
    """A row for each topic that is configured."""
    rows = []
    for name in sorted(node.topics):
        topic = node.topics[name]
        row = {"topic": name, "kind": topic.kind, "direction": topic.direction, "partitions": topic.partitions}
        row["strategy"] = topic.strategy if topic.kind == "keyed" else None
        rows.append(row)
    return rows


def written(value: "Any", depth: int) -> "Iterator[str]":
    """`value` as JSON, in parts: what lies more than `depth` levels down is one."""
    if not depth or not isinstance(value, (dict, list)):
        yield json.dumps(value)
        return
    keyed = isinstance(value, dict)
    mark = "{" if keyed else "["
    for item in value:
        yield mark + json.dumps(item) + ":" if keyed else mark
        yield from written(value[item] if keyed else item, depth - 1)
        mark = ","
    yield ("" if mark == "," else mark) + ("}" if keyed else "]")


def give_back(node: "Node") -> None:
    """Of what a node makes when it is first asked for, drop what keeps no limit. It stands here, where boards load it last."""
    if not any([getattr(node.config.resources, key) is not None for key in MEASURED]):
        node._resources = None
    if node._queue is not None and not node._queue.bounded:
        node._queue = None
