"""What a configuration needs of a board, and whether a board has it.

Rule: what a board could not bear is refused before anything is written, with both numbers. The heap is reckoned by one formula, whose
numbers `tests/images/test_board_needs.py` measures on a real 32-bit MicroPython: what it grants runs, and it asks for little more.
Must not know: how a board is reached.
"""

from __future__ import annotations

from streamline_core.config import EdgeConfig

from .board_facts import DOWN, KEYED, MQTT, SERIAL, BoardFacts

# Of the heap of a 32-bit MicroPython whose modules are frozen.
BASE_BYTES = 60000  # the modules' names and functions, the node, its session, the link
PER_FRAME_BYTE = 10  # eight frames' worth of records become one; it and the packet around it
PER_PARTITION_BYTES = 3600  # a log, its stream and its sender; a batch comes on top
PER_SEGMENT_BYTES = 30  # where it begins
PER_FLASH_SEGMENT_BYTES = 240  # on a raw flash its name and its blocks, too
PER_PRODUCER_BYTES = 90
DOWN_BYTES = 18000  # what flows down: its modules and its feed, once for all topics
KEYED_BYTES = 28000  # that, and tables, once for all keyed topics; what is in the tables comes on top
COMPACT_BYTES = 74000  # what reads a segment anew, 64 KB of it at once; a batch comes on top, and its keys while it works
TLS_HANDSHAKE_BYTES = 16384  # of a handshake, beside the buffers of a connection, where these are in the heap
TLS_BYTES = 24576 + TLS_HANDSHAKE_BYTES  # where it could not be tried
TLS_OUTSIDE_BYTES = 8192  # who takes less keeps its buffers elsewhere

DIRECTIONS_DOWN = ("cloud_to_edge", "bidirectional")
SEGMENT_HEADER_BYTES = 20  # of a block of a raw flash, and the name
SEGMENT_NAME_BYTES = 36  # of a segment, beside topic and node: -P/ORIGIN-EPOCH/BASE.seg
FILES_SPARE_BYTES = 16384  # of a file system: slots, and what littlefs needs to change anything


def partitions(config: EdgeConfig) -> int:
    return sum(topic.partitions for topic in config.topics.values())


def segments(config: EdgeConfig) -> int:
    """How many a full storage has."""
    return config.resources.max_storage // config.log.segment_bytes + partitions(config)


def heap_bytes(config: EdgeConfig, board: BoardFacts | None = None) -> int:
    """What the agent needs, of the heap of a board; without one, of any 32-bit one that logs to files and has no TLS."""
    flash = board is not None and board.log_blocks is not None
    needed = (
        BASE_BYTES
        + PER_FRAME_BYTE * config.frame_bytes_max
        + partitions(config) * (PER_PARTITION_BYTES + config.log.batch_bytes)
        + config.log.batch_bytes
        + segments(config) * (PER_FLASH_SEGMENT_BYTES if flash else PER_SEGMENT_BYTES)
        + config.log.producers_max * PER_PRODUCER_BYTES
    )
    if board is not None and board.log_blocks is not None:
        needed += board.log_blocks  # a byte for each
    if config.resources.eviction_policy == "compact":
        needed += COMPACT_BYTES + config.log.batch_bytes
    if any(topic.kind == "keyed" for topic in config.topics.values()):
        needed += KEYED_BYTES
    elif any(topic.direction in DIRECTIONS_DOWN for topic in config.topics.values()):
        needed += DOWN_BYTES
    if board is not None and board.tls_bytes is not None and (config.cloud_endpoint or "").startswith("mqtts:"):
        if board.tls_bytes < 0:
            needed += TLS_BYTES
        elif board.tls_bytes > TLS_OUTSIDE_BYTES:
            needed += board.tls_bytes + TLS_HANDSHAKE_BYTES
    return needed


def storage_bytes_most(config: EdgeConfig, board: BoardFacts) -> int:
    """The most that max_storage may be: whole segments in the board's log flash, or in its file system."""
    if board.log_blocks is None or board.log_block_bytes is None:
        return max(0, board.files_bytes - FILES_SPARE_BYTES)
    name = max([len(topic) for topic in config.topics] or [0]) + len(config.node_id) + SEGMENT_NAME_BYTES
    room = board.log_block_bytes - SEGMENT_HEADER_BYTES - name
    blocks = -(-config.log.segment_bytes // room)
    return max(0, board.log_blocks // blocks - partitions(config)) * config.log.segment_bytes


def shown(count: int) -> str:
    """Bytes, as people write them; up, so that what is too much by a byte is seen."""
    for unit, size in (("MB", 1 << 20), ("KB", 1 << 10)):
        if count >= 10 * size or (unit == "KB" and count >= size):
            return f"{-(-count // size):,} {unit}"
    return f"{count} bytes"


def problems(config: EdgeConfig, board: BoardFacts) -> list[str]:
    """Why it is too much for that board, a line each."""
    if board.fault is not None:
        return [board.fault + "; put an image onto it anew, or make a file system at its console"]
    found = []
    if board.streamline is None:
        found.append("there is no Streamline on the board; put it there first: make flash BOARD=… PORT=…")
    needed = heap_bytes(config, board)
    if needed > board.heap_bytes:
        other = "use another resources.eviction_policy (compact), " if config.resources.eviction_policy == "compact" else ""
        found.append(
            f"it needs {shown(needed)} of heap, the board has {board.heap_bytes // 1024:,} KB; {other}make frame_bytes_max "
            f"({config.frame_bytes_max}), log.batch_bytes ({config.log.batch_bytes}) or max_storage over log.segment_bytes "
            f"({segments(config)} segments) smaller, or have fewer topics and partitions ({partitions(config)})"
        )
    most, given = storage_bytes_most(config, board), config.resources.max_storage
    if given > most:
        where = "file system" if board.log_blocks is None else "log partition"
        found.append(
            f"resources.max_storage is {given:,} bytes, and the board's {where} has room for {most:,} in segments of "
            f"{config.log.segment_bytes:,} (log.segment_bytes)"
        )
    found += _lacks(config, board)
    scheme = (config.cloud_endpoint or "").partition(":")[0]
    if scheme in ("mqtt", "mqtts") and not board.socket:
        found.append(f"cloud_endpoint: {scheme}:// needs a network, and this MicroPython has none; use serial://UART")
    if scheme == "mqtts" and board.tls_bytes is None:
        found.append("cloud_endpoint: this MicroPython has no TLS; use mqtt:// on a network that is trusted")
    return found


def _lacks(config: EdgeConfig, board: BoardFacts) -> list[str]:
    """What the configuration asks for, and the board's image was built without."""
    scheme = (config.cloud_endpoint or "").partition(":")[0]
    asks = [(f"topic {name}", KEYED) for name, topic in config.topics.items() if topic.kind == "keyed"]
    asks += [(f"topic {name}", DOWN) for name, topic in config.topics.items() if topic.direction in DIRECTIONS_DOWN]
    asks += [("cloud_endpoint", MQTT)] * (scheme in ("mqtt", "mqtts") and board.socket)
    asks += [("cloud_endpoint", SERIAL)] * (scheme == "serial")
    words = "{}: what is on the board was built without {}; change that, or flash an image that has them"
    return [words.format(who, part) for who, part in asks if part in board.lacks]
