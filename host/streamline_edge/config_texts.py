"""What each key of a configuration is for, in a line: in the file that `edge init` writes, and in the JSON Schema.

Rule: every key of the tables has a text here, and nothing else has. What a key may hold is said by the tables, not here.
"""

from __future__ import annotations

SECTIONS = {
    "location": "where the node is",
    "sync": "how records travel to the cloud, and when",
    "sync.retry": "waits between attempts to connect; they grow, with full jitter",
    "resources": "what the node may use of this machine",
    "log": "how records are kept on the disk",
    "mesh": "peers that sync with each other",
}
LISTS = {
    "sync_topics": "topics that travel to or from the cloud: names, or entries with the keys below",
    "local_topics": "topics that never leave the node",
    "consumers": "readers of this node that have a durable position",
    "ingest": "messages of the broker for devices that become records; at least once",
    "serial": "serial lines, each with a board at its end, which this node carries to the broker",
}
KEYS = {
    "node_id": "1 to 64 of A-Z a-z 0-9 . _ -; also the MQTT client id and user name",
    "fleet": "nodes and a cloud of one fleet see each other",
    "location.lat": "degrees north",
    "location.lon": "degrees east",
    "location.name": "for people",
    "cloud_endpoint": "broker of the cloud: mqtt, mqtts, ws, wss or https://HOST (a board: or serial://LINE); none: offline for ever",
    "password_file": "its first line is the node's password at the broker; keep it mode 600",
    "ca_file": "PEM certificates that prove the broker; none: the system's",
    "cert_file": "the node's own certificate, PEM",
    "key_file": "the private key of cert_file, PEM",
    "data_dir": "where everything is; one agent per directory",
    "sync.enabled": "false: start paused, until somebody says: edge sync resume",
    "sync.interval_secs": "after all is delivered, wait so long before sending again; 0: send at once",
    "sync.batch_size": "records in one frame at the most; 0: as many as fit, which costs the fewest bytes",
    "sync.compression": "none, deflate or zstd; what the other side cannot do is not used",
    "sync.max_queue_size": "records that may be owed to the cloud; 0: no limit",
    "sync.max_queue_bytes": "bytes that may be owed to the cloud; 0: no limit",
    "sync.queue_full": "what happens to more: reject (an error), block (producers wait) or evict (the oldest that is owed goes)",
    "sync.bandwidth_limit": "bytes a second handed to the link; 0: no limit",
    "sync.backlog_percent": "share of the link for what had gathered before it came, while newer data wants to go, too",
    "sync.windows": "when to sync, in local time, such as [mon-fri 22:00-06:00]; none: always",
    "sync.condition": "what has to hold, too: file:PATH (it is there), no file:PATH, or command:PROGRAM (it ends well)",
    "sync.retry.initial_ms": "the first wait, at the most",
    "sync.retry.max_ms": "the longest wait",
    "resources.max_memory": "of the whole process, such as 256MB; none: no limit",
    "resources.max_storage": "of everything stored; 0: what the disk has, less a reserve; what the cloud has goes first",
    "resources.max_cpu_percent": "of one core: sync waits so that the process stays below it; none: no limit",
    "resources.max_file_descriptors": "of the process; none: no limit of its own",
    "resources.max_connections": "of the control socket, the embedded broker and the way out together; none: no limit",
    "resources.eviction_policy": "of what the cloud has not: oldest, priority (of the topic) or lru goes, or reject: an error",
    "resources.topic_priorities": "for the policy priority: {TOPIC: 1 to 10}, where it is not to be the topic's priority",
    "log.segment_bytes": "size of one file of a log; space is given back by segments",
    "log.batch_bytes": "largest batch, and so (less 124 bytes) the largest record; none: what fits",
    "log.commit_interval_ms": "how long records gather before they are synced together",
    "log.buffer_bytes": "accepted and not yet durable, beyond which producers wait; none: 16 MB, or less where max_memory is small",
    "log.producers_max": "idempotent producers remembered per log",
    "log.cursor_interval_ms": "how often it is noted what the cloud has, so that it may be given back first after a restart",
    "frame_bytes_max": "largest frame that this node sends or takes",
    "conflict_resolution": "the strategy of keyed topics that name none",
    "merge": "the merge module of topics with custom_merge that name none: python:FILE.py, python:MODULE or wasm:FILE",
    "conflict_log": "one of local_topics, which gets a record for each conflict",
    "broker": "for devices behind this node: embedded, or a broker's URL",
    "broker_listen": "where the embedded broker listens; anything but loopback needs broker_password_file",
    "broker_password_file": "lines user:password of the devices that may connect",
    "mesh.enabled": "true is refused by name in this build",
    "mesh.discovery": "how peers find each other",
    "mesh.max_peers": "how many at the most",
    "mesh.gossip_interval_secs": "how often they tell each other what they have",
    "mesh.replicated_topics": "which topics they share",
}
OF_TOPICS = {
    "topic": "its name: 1 to 128 of A-Z a-z 0-9 . _ -",
    "kind": "log: every record counts, in order; keyed: the value of each key counts",
    "direction": "edge_to_cloud, cloud_to_edge or bidirectional",
    "partitions": "a record goes to one by its key",
    "priority": "1 to 10: its share of the link is in proportion to it",
    "urgent": "it is sent outside of sync.windows, conditions and intervals, too",
    "queue_full": "sync.queue_full, for this topic",
    "strategy": "of a keyed topic: what is shown of writes that had not seen each other; none: conflict_resolution",
    "merge": "with custom_merge: python:FILE.py, python:MODULE or wasm:FILE; none: the one of the whole configuration",
    "feed_filter": "of a topic that flows down: which keys the cloud sends here; * is anything, {node} this node",
    "unchanged_max_age": "of a keyed topic: how long a value that is written again as it is needs no new version, such as 10m",
    "retention": "of a log: what is older is given back, such as 7d; 0: as long as there is room",
}
OF_CONSUMERS = {
    "name": "its name: 1 to 64 of A-Z a-z 0-9 . _ -",
    "topic": "which it reads: one of sync_topics or local_topics",
    "holds": "what it has not read yet is not given back",
}
OF_INGEST = {
    "from": "filter of MQTT topics, in which + is one level and # the rest",
    "topic": "which gets the records: one of sync_topics or local_topics",
    "key": "topic: the MQTT topic is the record's key; none: it has none",
}
OF_LINES = {
    "port": "a device such as /dev/ttyACM0, socket://HOST:PORT or rfc2217://HOST:PORT",
    "baud": "its speed, as the board has it",
    "node_id": "the only node that is carried; none: whichever greets",
    "password_file": "its first line is the board's password at the broker, whose user is the board's node id",
}
