"""A node in an image without edge-sync: what asks the link of a node something finds an answer there, too."""

from harness import FakeClock, FakeEntropy, MemoryStorage
from streamline_core.answer import health
from streamline_core.codec import NONE, Codecs
from streamline_core.config import EdgeConfig
from streamline_core.no_link import NoLink
from streamline_core.node import Node
from streamline_core.plan import plan

CAP = 60000


class LocalNode(Node):
    def _make_link(self):
        return NoLink()


def local_node(topics="local_topics", **resources):
    """A node with some records."""
    given = {"node_id": "n", "data_dir": "-", topics: ["t"], "log": {"segment_bytes": 4096, "batch_bytes": 1024}}
    given["resources"] = resources
    clock, storage = FakeClock(0, 1700000000000), MemoryStorage()
    node = LocalNode(EdgeConfig.from_dict(given), clock, storage, FakeEntropy(1), Codecs(NONE))
    node.open()
    for i in range(500):
        node.produce("t", b"%d " % i + bytes(200), b"key %d" % (i % 10))
        clock.advance(10)
        for _ in range(4):
            node.tick()
            for ticket in storage.completed():
                node.synced(ticket)
    return node


def test_it_says_how_it_is_and_what_would_leave():
    node = local_node()
    report, _ = health(node, node.status(), None)
    assert report == {"healthy": True, "problems": []}
    planned = plan(node, 1000)
    assert (planned["allowed"], planned["cost_percent"], planned["link_bytes"], planned["rows"]) == (False, None, 0, [])


def test_its_pauses_are_taken_and_its_frames_are_none():
    node = local_node()
    node.pause()
    node.resume()
    node.link.sync_now()
    node.link.receive(b"x")
    assert node.link.next_frame() is None


def test_it_compacts_what_it_would_owe():
    node = local_node("sync_topics", max_storage=CAP, eviction_policy="compact")
    assert node.log("t").segments.compacted and node.log("t").first == 0 and node.evictor.evicted_bytes == 0
