"""What runs on a board where the agent cannot: it answers `health` and `status`, says why, and after a while tries again.

Rule: it opens no log and writes nothing; it uses no more of the board than its link, and outlives whatever is wrong with that. It answers
from afar wherever the configuration says how to reach the cloud, even one that is refused for something else; without that (there is no
file system, the file is no JSON, the link itself is what is wrong, there is no memory for it) the console says why, and nobody else. Must
not know: why the agent cannot run, beyond what it was told.
"""

import gc
import select
import sys
import time

from streamline_core import VERSION
from streamline_core.errors import StreamlineError, UsageError
from streamline_core.no_link import NoLink

from . import heap
from .ports import BoardClock, BoardEntropy

TRY_AGAIN_MS = 600000
WAIT_MS_MAX = 1000
MEMORY_WAIT_MS = 100
_NO_LINK = (StreamlineError, OSError)
OTHERS = ("ledger", "topics", "queue", "resources", "consumers")


class SafeNode:
    """Stands in the place of the node for a link and for who asks."""

    memory_errors = 0  # the link counts them
    _resources = _queue = None

    def __init__(self, config, clock, reason):
        self.config = config
        self.clock = clock
        self.reason = reason
        self.link = NoLink()
        self.own_answers = {"status": self.status, "health": self.health}
        for op in OTHERS:
            self.own_answers[op] = self._nothing

    def status(self):
        said = {
            "node": self.config.node_id, "state": "safe mode", "why": self.reason, "streams": [], "feeds": [], "tables": [], "counters": {},
            "version": VERSION, "interpreter": "MicroPython %d.%d" % sys.implementation[1][:2],
            "link": None, "storage_failures": [], "memory_errors": self.memory_errors,
        }  # fmt: skip
        said.update(heap.figures())
        return said

    def health(self):
        return {"healthy": False, "problems": ["safe mode: " + self.reason]}

    def _nothing(self):
        raise UsageError("the node is in safe mode and has no logs open: " + self.reason)


def run(config, reason, network=None, feed=None):
    """Answer until it is time to try again. config: an EdgeConfig, of which a link's part will do, or None where there is none; reason: a
    sentence; network: something with `turn(now_ms)`; feed: of a watchdog, or None. Returns False where somebody at the console wants the
    prompt."""
    print("streamline: safe mode: " + reason)
    clock, poll = BoardClock(), select.poll()
    until_ms = clock.monotonic_ms() + TRY_AGAIN_MS
    link = _link(config, reason, clock, poll)
    try:
        while True:
            now_ms = clock.monotonic_ms()
            if now_ms >= until_ms:
                return True
            if feed is not None:
                feed()
            try:
                _turn(network, link, clock, poll)
            except MemoryError:
                gc.collect()
                time.sleep_ms(MEMORY_WAIT_MS)
            except Exception as error:  # whatever it is, the console has it, and the board stays
                sys.print_exception(error)
                print("streamline: safe mode goes on without a link: %s: %s" % (type(error).__name__, error))
                network = link = None
    except KeyboardInterrupt:
        return False


def _link(config, reason, clock, poll):
    """None where there can be none: that is said."""
    if config is None or config.cloud_endpoint is None:
        return None
    try:
        from .loop import link_class  # the same choice as the agent's

        return link_class(config)(config, SafeNode(config, clock, reason), clock, BoardEntropy(), poll)
    except _NO_LINK as error:
        print("streamline: safe mode without a link: %s" % error)
    except MemoryError:
        gc.collect()
        print("streamline: safe mode without a link: no memory for it")
    return None


def _turn(network, link, clock, poll):
    """What is due; then wait for whatever comes first."""
    due_ms = clock.monotonic_ms() + WAIT_MS_MAX
    if network is not None:
        network.turn(clock.monotonic_ms())
    if link is None:
        time.sleep_ms(WAIT_MS_MAX)
        return
    link.turn()
    if link.deadline_ms() >= 0:
        due_ms = min(due_ms, link.deadline_ms())
    for _ in poll.ipoll(max(0, due_ms - clock.monotonic_ms())):
        pass
