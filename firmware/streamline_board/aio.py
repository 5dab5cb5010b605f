"""The agent inside an application that has an asyncio loop of its own.

Rule: a turn at a time, and others have theirs in between; what the application hands over is taken up at once. Must not know: the
application.
"""

import asyncio

LOOK_MS = 20  # a socket or a line does not wake an asyncio loop that does not know it: it is looked at so often


class AsyncLoop:
    """loop: a Loop, opened. `asyncio.create_task(agent.run())`, then `agent.produce(…)` from any task."""

    def __init__(self, loop):
        self._loop = loop
        self._wake = asyncio.Event()
        self._ended = False

    def produce(self, topic, value, key=None):
        """Store a record: durable within the commit interval. Returns its offset. Raises as `Node.produce`: UsageError, StorageFull,
        QueueFull (let the agent have its turn, then try again)."""
        offset = self._loop.node.produce(topic, value, key)[1]
        self._wake.set()
        return offset

    async def run(self):
        """Turn until `stop`, or until the task is cancelled; then all that was accepted is made durable."""
        try:
            while not self._ended:
                wait_ms = self._loop.turn()
                self._loop.wait(0)
                await asyncio.sleep_ms(0)
                if wait_ms > 0 and not self._ended:
                    try:
                        await asyncio.wait_for_ms(self._wake.wait(), min(wait_ms, LOOK_MS))
                    except asyncio.TimeoutError:
                        pass
                self._wake.clear()
        finally:
            self._loop.close()

    def stop(self):
        self._ended = True
        self._wake.set()
