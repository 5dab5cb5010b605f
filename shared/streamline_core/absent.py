"""What stands in the place of tables and feeds on a node that has no keyed topic, or takes nothing from the cloud, and of the link in an
image without edge-sync: a board pays for every module that it loads.

Rule: the same methods as `tables.Tables`, `downlink.Downlink` and `link.Link`, as far as a node and its shell call them whether or not
there are any.
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


class NoPacing:
    bandwidth_limit = cpu_percent = 0
    waits_for_cpu = False

    def spent(self, count: int) -> None:
        pass


class NoLink:
    state = "local"
    why = "this image has no edge-sync"
    why_waiting = why_refused = ""
    hub = session = None
    paused = False
    read_bytes = 0

    def __init__(self) -> None:
        self.pacing = NoPacing()
        self.counters: "dict[str, int]" = {}

    def tick(self) -> int:
        return -1

    def _nothing(self, *arguments: object) -> None:
        pass

    offer = allow = up = down = hub_status = receive = next_frame = sync_now = reconfigured = _nothing


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
