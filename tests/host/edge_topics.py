"""The topics of an edge that the command line is tried on, logs and keyed ones, and lines of JSON to write to it.

Rule: the same for the command line and for the socket beneath it. Must not know: what is asked of the edge.
"""

LOGS = """
node_id: n1
cloud_endpoint: mqtt://127.0.0.1:1
sync_topics: [t, {topic: k, partitions: 3}]
local_topics: [here]
"""

KEYED = """
node_id: n1
cloud_endpoint: mqtt://127.0.0.1:1
sync_topics:
  - {topic: state, kind: keyed, direction: bidirectional}
  - {topic: promo, direction: cloud_to_edge}
  - {topic: chat, direction: bidirectional}
  - {topic: t}
local_topics: [{topic: mine, kind: keyed, partitions: 3}]
"""


def lines(n: int, start: int = 0) -> bytes:
    return b"".join(b'{"n":%d,"k":"key %d"}\n' % (i, i % 17) for i in range(start, n))
