"""A hub without a carrier: what is produced while no bridge runs is committed all the same, and goes out when one does.

Rule: it holds the lock of the store, so that there is never another hub; what cannot be committed at once fails, for nobody waits here
for better times. Must not know: sockets, what is produced.
"""

import asyncio
from pathlib import Path

from streamline_core.errors import StreamlineError
from streamline_core.hub import Hub
from streamline_core.hub_config import HubConfig
from streamline_host.codecs import codecs
from streamline_host.ports import SystemClock, SystemEntropy

from .publisher import Publisher
from .store_sqlite import SqliteStore

CLOSE_SECS_MAX = 10.0


class LoneHub:
    """store: the file. Use as `async with LoneHub(path) as publisher`. Raises StoreBusy where somebody else writes it, UsageError."""

    def __init__(self, store: Path) -> None:
        self._store = SqliteStore(store, self._committed_in_thread)
        self._hub = Hub(HubConfig(), SystemClock(), SystemEntropy(), self._store, codecs("zstd"))
        self._publisher = Publisher(self._hub, self._store, self._wake)
        self._turn_due: asyncio.Handle | None = None
        self._stopped = False

    async def __aenter__(self) -> Publisher:
        self._loop = asyncio.get_running_loop()
        self._hub.open()
        return self._publisher

    async def __aexit__(self, *exception: object) -> None:
        await self._publisher.finish(CLOSE_SECS_MAX)
        self._stopped = True
        await asyncio.to_thread(self._store.close)

    def _wake(self) -> None:
        if self._turn_due is None and not self._stopped:
            self._turn_due = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = None
        if not self._stopped:
            self._hub.tick()

    def _committed_in_thread(self, ticket: int, error: Exception | None) -> None:
        self._loop.call_soon_threadsafe(self._committed, ticket, error)

    def _committed(self, ticket: int, error: Exception | None) -> None:
        if error is not None:
            self._publisher.fail(error if isinstance(error, StreamlineError) else StreamlineError(str(error)))
        self._hub.committed(ticket, error)
        self._publisher.committed(error)
        self._wake()
