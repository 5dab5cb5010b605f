"""What a board says of itself: what its node says, its link, its heap.

Rule: it is loaded when somebody asks. Must not know: who asks, and over what.
"""

import sys

from streamline_core import VERSION

from . import heap


def status(node, link):
    """JSON-able. link: a Carrier, or None where no cloud is configured."""
    said = node.status()
    said["link"] = link_status(node, link) if link is not None else None
    said["data_dir"] = node.config.data_dir
    said["version"] = VERSION
    said["interpreter"] = "MicroPython %d.%d" % sys.implementation[1][:2]
    said.update(heap.figures())
    failed = [(log.folder, log.failure) for log in node.partitions.every_log() if log.failure is not None]
    said["storage_failures"] = ["%s: %s" % row for row in failed]
    if link is not None and hasattr(link.source, "failures"):
        said["application_failures"], said["application_error"] = link.source.failures, link.source.error
    return said


def link_status(node, link):
    """endpoint, connected, why not, and for how many ms it has been so."""
    connected = link.connected
    said = {"endpoint": link.endpoint, "connected": connected, "reason": "" if connected else link.reason}
    said.update(link.counters())
    said["connected_ms" if connected else "away_ms"] = node.clock.monotonic_ms() - (link.up_ms if connected else link.down_ms)
    return said
