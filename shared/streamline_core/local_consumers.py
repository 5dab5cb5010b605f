"""The readers of a node that have a name: where each is, over restarts, and what waits for them.

Rule: a position is the epoch and the offset of the next record; it moves only when the reader says that it has done with what lies below.
What a reader that holds has not read is not given back. Knows nothing of who reads.
"""

import json

from .config import POSITIONS_MAX
from .consumer import Consumer
from .errors import UsageError
from .slots import Slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .config import ConsumerConfig
    from .log import Log
    from .node import Node
    from .partition import Partition

    Key = tuple[str, str, int, bool]  # name, topic, partition, whether it reads what the cloud sends
    Position = tuple[int, int]  # epoch, offset

NAME_CHARS_MAX = 64
RETRY_MS = 5000


class LocalConsumers:
    """node: whose."""

    def __init__(self, node: "Node", configured: "list[ConsumerConfig]") -> None:
        self.slots = Slots(node.storage, "consumers")
        self._node = node
        self._positions: "dict[Key, Position]" = {}
        self._holds: "set[tuple[str, str]]" = set()
        self._tried_ms = 0
        self._dirty = False
        saved = self.slots.load()
        if saved is not None:
            try:
                for name, topic, number, feed, epoch, offset in json.loads(saved):
                    if topic in node.topics and number < node.topics[topic].partitions:
                        self._positions[name, topic, number, feed] = epoch, offset
            except (ValueError, TypeError):
                pass  # not written by us: they begin anew
        for consumer in configured:
            feed = node.topics[consumer.topic].direction == "cloud_to_edge"
            if consumer.holds:
                self._holds.add((consumer.name, consumer.topic))
            for number in range(node.topics[consumer.topic].partitions):
                self._positions.setdefault((consumer.name, consumer.topic, number, feed), (-1, 0))
        self._hold()

    def _partition(self, key: "Key") -> "Partition":
        _, topic, number, feed = key
        self._node.log(topic, number)
        if self._node.topics[topic].kind == "keyed":
            raise UsageError("topic %s is keyed: it has no order to go through; watch its keys" % topic)
        if not feed:
            return self._node.partitions.get(topic, number)
        return self._node.downlink.feed_partition(topic, number)

    def _key(self, name: str, topic: str, number: int, feed: bool) -> "Key":
        if not 0 < len(name) <= NAME_CHARS_MAX:
            raise UsageError("a consumer has a name of 1 to %d characters" % NAME_CHARS_MAX)
        self._node.log(topic, number)
        key = name, topic, number, feed or self._node.topics[topic].direction == "cloud_to_edge"
        self._partition(key)
        return key

    def open(self, name: str, topic: str, number: int = 0, feed: bool = False) -> Consumer:
        """A reader from where `name` was; from the oldest that is held, where it never was. Raises UsageError."""
        key = self._key(name, topic, number, feed)
        if key not in self._positions and len(self._positions) >= POSITIONS_MAX:
            raise UsageError("%d positions of consumers are kept, and no more; forget those that nobody needs" % POSITIONS_MAX)
        epoch, offset = self._positions.setdefault(key, (-1, 0))
        partition = self._partition(key)
        buf = bytearray(self._node.config.log.batch_bytes)
        if key[3]:
            return Consumer(partition, max(offset, min([log.first for log in partition.logs()])), buf, True)
        log, offset = _place(partition, epoch, offset)
        return Consumer(partition, offset, buf, False, log)

    def commit(self, name: str, topic: str, number: int, feed: bool, epoch: int, offset: int) -> None:
        """`name` has done with all below `offset` of an epoch: durable soon. Raises UsageError."""
        key = self._key(name, topic, number, feed)
        if key not in self._positions:
            raise UsageError("consumer %s of %s has not been opened" % (name, topic))
        if self._positions[key] != (epoch, offset):
            self._positions[key] = epoch, offset
            self._dirty = True
            self._hold()

    def forget(self, name: str) -> int:
        """Drop all positions of `name`, but those that the configuration names, which begin anew. Returns how many there were."""
        gone = [key for key in self._positions if key[0] == name]
        for key in gone:
            del self._positions[key]
        for consumer in self._node.config.consumers:
            if consumer.name == name:
                feed = self._node.topics[consumer.topic].direction == "cloud_to_edge"
                for number in range(self._node.topics[consumer.topic].partitions):
                    self._positions[name, consumer.topic, number, feed] = -1, 0
        self._dirty = self._dirty or len(gone) > 0
        self._hold()
        return len(gone)

    def _hold(self) -> None:
        """Tell the logs what readers have not read."""
        kept: "dict[tuple[str, int, bool], list[Position]]" = {}
        for name, topic, number, feed in self._positions:
            if (name, topic) in self._holds:
                kept.setdefault((topic, number, feed), []).append(self._positions[name, topic, number, feed])
        for topic, number, feed in kept:
            positions = kept[topic, number, feed]
            partition = self._partition(("", topic, number, feed))
            if feed:
                for log in partition.logs():
                    log.kept_from = min([offset for _, offset in positions])
                continue
            logs = partition.logs()
            places = [_place(partition, epoch, offset) for epoch, offset in positions]
            for i, log in enumerate(logs):
                here = [offset for at, offset in places if at is log]
                if any([logs.index(at) < i for at, _ in places]):
                    log.kept_from = 0
                else:
                    log.kept_from = min(here) if here else -1

    # Time and tickets

    def tick(self, now_ms: int) -> None:
        """Keep what moved."""
        self._hold()  # a fork may have begun another epoch
        if self._dirty:
            self._dirty = False
            rows = [list(key + self._positions[key]) for key in sorted(self._positions)]
            self.slots.save(json.dumps(rows).encode())
        elif self.slots.stalled and now_ms - self._tried_ms >= RETRY_MS:
            self._tried_ms = now_ms
            self.slots.retry()

    @property
    def idle(self) -> bool:
        return not self._dirty and not self.slots.ticket

    def status(self) -> "list[dict[str, Any]]":
        """A row for each position: name, topic, partition, feed, holds, epoch, offset, lag (records that it has not read). JSON-able."""
        rows = []
        for key in sorted(self._positions):
            name, topic, number, feed = key
            partition, (epoch, offset) = self._partition(key), self._positions[key]
            logs = partition.logs()
            if feed:
                lag = max(0, logs[-1].durable - max(offset, logs[0].first))
            else:
                log, offset = _place(partition, epoch, offset)
                epoch = log.stream.epoch
                later = logs[logs.index(log) + 1 :]
                lag = max(0, log.durable - max(offset, log.first)) + sum([other.durable - other.first for other in later])
            rows.append(
                {
                    "name": name,
                    "topic": topic,
                    "partition": number,
                    "feed": feed,
                    "holds": (name, topic) in self._holds,
                    "epoch": "%08x" % max(0, epoch),
                    "offset": offset,
                    "lag": lag,
                }
            )
        return rows


def _place(partition: "Partition", epoch: int, offset: int) -> "tuple[Log, int]":
    """Where a position is now: a fork may have moved it. One of an epoch that is gone begins with the oldest that is held."""
    logs = partition.logs()
    for log in logs:
        if log.stream.epoch == epoch:
            while True:
                moved = log.moved(offset)
                if moved is None:
                    return log, offset
                log, offset = moved
    return logs[0], logs[0].first
