"""The limits of an agent: those of its configuration, those that an operator has set since, and what they mean on this machine.

Rule: a limit that this agent cannot keep is refused with what it needs, and nothing changes. What the system can enforce, it enforces.
Knows nothing of the control socket.
"""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING, Any

from streamline_core.errors import QueueFull
from streamline_core.operator_limits import change, lay, limits_of
from streamline_core.resources import CONNECTIONS, FILES, FILES_NEEDED, KEYS, MEMORY

from . import operator_limits

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig
    from streamline_core.node import Node

    from .posix_storage import PosixStorage

MEMORY_SECS_MAX = 20.0  # how long somebody waits for memory
MEMORY_LOOK_SECS = 0.02
FILES_SHARES = 6  # the storage keeps so much of the open files for itself, and as many for reading
CONNECTIONS_KEPT = 2  # of max_connections beside an embedded broker, for the control socket
CONNECTIONS_NEEDED = 2  # of the embedded broker: ingest, and somebody who has something to say


class Limited:
    """A part of Agent."""

    config: EdgeConfig
    node: Node
    _storage: PosixStorage

    def _read_limits(self) -> None:
        """Before the node is made. Raises: UsageError."""
        self._configured = limits_of(self.config)
        self._soft_files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        lay(self.config, operator_limits.read(self.config.data_dir))

    def _lay_limits(self, new: EdgeConfig) -> None:
        """What an operator has set comes before what a new configuration says. Raises: UsageError where a limit cannot be kept."""
        configured = limits_of(new)
        lay(new, operator_limits.read(self.config.data_dir))
        self._look_at_files()
        for kind in KEYS:
            self.node.resources.check(kind, limits_of(new)[kind])
        self._configured = configured

    def _needs(self) -> None:
        """What the resources cannot know by themselves. Before the node is opened."""
        resources = self.node.resources
        resources.needed[CONNECTIONS] = connections_needed(self.config)
        resources.files_kept = lambda: self._storage.spare_files

    def _look_at_files(self) -> None:
        """What is open now, but for what the storage can close, is needed."""
        resources = self.node.resources
        resources.needed[FILES] = resources.measured_files() - self._storage.open_files + FILES_NEEDED

    def _files_max(self) -> int | None:
        """How many files the storage may hold open for writing, and as many for reading."""
        most = self.config.resources.max_file_descriptors
        return max(4, most // FILES_SHARES) if most is not None else None

    def _enforce(self) -> None:
        """Have the storage, then the system, hold the process to its limit of open files; without one, to what the system had said."""
        self._storage.hold(self._files_max())
        most = self.config.resources.max_file_descriptors or self._soft_files_max
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, hard) if hard != resource.RLIM_INFINITY else most, hard))

    def resources(self) -> dict[str, Any]:
        """See `ResourceManager.status`; and set: which limits an operator has set."""
        status: dict[str, Any] = self.node.resources.status()
        status["set"] = sorted(operator_limits.read(self.config.data_dir))
        return status

    def limit(self, limits: dict[str, int], policy: str | None = None, reset: bool = False) -> None:
        """Set limits for good, all or none: {kind: limit}, kinds as in `streamline_core.resources`. reset: those of the configuration hold
        again, except for these. Raises: UsageError with what the node needs, OSError."""
        kept = operator_limits.read(self.config.data_dir)
        self._look_at_files()
        change(self.node, self._configured, kept, lambda wanted: operator_limits.write(self.config.data_dir, wanted), limits, policy, reset)
        if FILES in limits or reset:
            self._enforce()

    async def memory(self, size: int) -> None:
        """Wait until `size` bytes more may be used, and reserve them: `node.resources.release` gives them back. Raises: QueueFull where
        that takes too long."""
        resources = self.node.resources
        waited = 0.0
        while not resources.can_allocate(MEMORY, size):
            if waited >= MEMORY_SECS_MAX:
                used, most = resources.usage()[MEMORY], resources.limit(MEMORY)
                raise QueueFull(f"resources.max_memory: {used} bytes of {most} are used, and {size} more are needed")
            await asyncio.sleep(MEMORY_LOOK_SECS)
            waited += MEMORY_LOOK_SECS
        resources.allocate(MEMORY, size)


def connections_needed(config: EdgeConfig) -> int:
    """The least that max_connections may be: the way out, those of boards, who asks or steers, and what the embedded broker needs."""
    ways_out = len(config.serial) + (config.cloud_endpoint is not None)
    return ways_out + (CONNECTIONS_KEPT + CONNECTIONS_NEEDED if config.broker == "embedded" else 1)
