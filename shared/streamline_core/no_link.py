"""What stands in the place of the link in an image without edge-sync, and for a carrier where there is no node.

Rule: the same methods as `link.Link`, as far as a node, its shell, a carrier and who asks call them whether or not there is one.
"""


class NoPacing:
    bandwidth_limit = cpu_percent = 0
    waits_for_cpu = False

    def spent(self, count: int) -> None:
        pass

    def cpu_wait_ms(self, now_ms: int) -> int:
        return 0


class NoLink:
    state = "local"
    why = "this image has no edge-sync"
    why_waiting = why_refused = ""
    hub = session = None
    paused = allowed = False
    read_bytes = sync_at_ms = stored_bytes_out = wire_bytes_out = 0

    def __init__(self) -> None:
        self.pacing = NoPacing()
        self.counters: "dict[str, int]" = {}

    def tick(self) -> int:
        return -1

    def _nothing(self, *arguments: object) -> None:
        pass

    offer = allow = up = down = hub_status = receive = next_frame = sync_now = reconfigured = _nothing
