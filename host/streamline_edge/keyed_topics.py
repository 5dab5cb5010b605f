"""What an agent shows of keyed topics to an application: values, keys, conflicts, and what changes.

Rule: what is durable is shown at once, so that whoever waited for its own write reads it; nothing here is written. Knows nothing of the
control socket.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from streamline_core.errors import UsageError
from streamline_core.explain import explain

from .plain_values import plain_bytes

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig
    from streamline_core.conflict import Merge
    from streamline_core.keyed import KeyedPartition
    from streamline_core.node import Node
    from streamline_core.version import Version

    from .waiters import Waiters


class KeyedTopics:
    """A part of Agent. Everywhere: UsageError for a topic that is not keyed here, or for what is no key."""

    node: Node
    _waiters: Waiters
    _running: bool

    def get(self, topic: str, key: bytes | str) -> bytes | None:
        """The value that is shown of a key; None where it was never written, or is deleted. Raises CorruptRecord, OSError."""
        plain = plain_bytes("key", key)
        return self._partition(topic, plain).get(plain)

    def keys(self, topic: str, prefix: bytes | str = b"") -> list[bytes]:
        """The keys that are not deleted and begin with `prefix`, sorted."""
        self.node.tables.take_up(topic)
        return self.node.tables.keys(topic, plain_bytes("prefix", prefix))

    def versions(self, topic: str, key: bytes | str) -> list[Version]:
        """The versions of a key that nobody has superseded, the earliest first: none if it was never written, several if there is a
        conflict. Raises CorruptRecord, OSError."""
        plain = plain_bytes("key", key)
        return self._partition(topic, plain).versions(plain)

    def explain(self, topic: str, key: bytes | str) -> dict[str, Any]:
        """What is shown of a key and why, JSON-able: see `streamline_core.explain`. Raises CorruptRecord, OSError."""
        plain = plain_bytes("key", key)
        return explain(self._partition(topic, plain), plain)

    def conflicts(self, topic: str | None = None) -> list[tuple[str, bytes]]:
        """(topic, key) of which more than one version stands, sorted; of all keyed topics without `topic`."""
        found = []
        for name in sorted(self.node.tables.topics) if topic is None else [topic]:
            self.node.tables.take_up(name)
            found += [(name, key) for key in self.node.tables.conflicts(name)]
        return found

    async def watch(self, topic: str) -> AsyncIterator[bytes]:
        """Each key that changes from the first step on, wherever it was written; ask `get` for its value. Changes of one key that come
        faster than they are taken become one; a key may also come without a change."""
        async for keys in self.changes(topic):
            for key in keys:
                yield key

    async def changes(self, topic: str) -> AsyncIterator[list[bytes]]:
        """As `watch`, in the lists in which they come; the first one at once, and empty."""
        watch = self.node.tables.watch(topic)
        try:
            yield []
            while self._running:
                keys = self.node.tables.changed(topic, watch)
                if keys:
                    yield keys
                else:
                    await self._waiters.tick()
        finally:
            self.node.tables.unwatch(topic, watch)

    def _partition(self, topic: str, key: bytes) -> KeyedPartition:
        return self.node.tables.take_up(topic, key)[0]


def load_merges(config: EdgeConfig) -> dict[str, tuple[Merge, bytes]]:
    """For each topic that has one its merge module and the hash of that. Raises: UsageError, which names both."""
    merges: dict[str, tuple[Merge, bytes]] = {}
    for name in sorted(config.topics):
        module = config.topics[name].merge
        if module is not None:
            from streamline_host.merge_module import load_merge  # few nodes need what runs them

            try:
                merges[name] = load_merge(module, os.curdir)
            except UsageError as e:
                raise UsageError(f"topic {name}: {e}") from None
    return merges
