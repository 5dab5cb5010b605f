"""What stands in the place of tables and feeds on a node that has no keyed topic, or takes nothing from the cloud: a board pays for every
module that it loads.

Rule: the same methods as `tables.Tables` and `downlink.Downlink`, as far as a node and its shell call them whether or not there are any.
"""

from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Session


class NoTables:
    found_bytes = 0

    def __init__(self) -> None:
        self.topics: "dict[str, Any]" = {}

    def _none(self, topic: str, *more: object) -> "Any":
        raise UsageError("topic %r is not keyed here; keyed are: none" % topic)

    partition = get = resolve = keys = conflicts = watch = unwatch = take_up = changed = _none

    def logs(self) -> "list[Any]":
        return []

    def tick(self) -> bool:
        return False

    def status(self) -> "list[dict[str, Any]]":
        return []


class NoDownlink:
    idle = True

    def __init__(self) -> None:
        self.feeds: "dict[tuple[str, int], Any]" = {}

    def partitions(self) -> "list[Any]":
        return []

    def consumer(self, topic: str, *more: object) -> "Any":
        raise UsageError("topic %s takes nothing from the cloud here" % topic)

    feed_partition = consumer

    def offered(self, session: "Session", row: "Any") -> None:
        session.error("feed", "this node takes no feeds", 0, row[0])

    def arrived(self, *arguments: object) -> None:
        pass

    versions = arrived

    def ended(self) -> None:
        pass

    close = ended

    def tick(self, now_ms: int) -> "list[int]":
        return []

    def synced(self, ticket: int, error: "Exception | None") -> bool:
        return False

    def status(self) -> "list[dict[str, Any]]":
        return []
