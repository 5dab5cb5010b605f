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
from streamline_core.resources import FILES, KEYS, MEMORY

from . import operator_limits

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig
    from streamline_core.node import Node

MEMORY_SECS_MAX = 20.0  # how long somebody waits for memory
MEMORY_LOOK_SECS = 0.02
FILES_SHARES = 4  # the storage keeps so much of the open files for itself, and as many for reading


class Limited:
    """A part of Agent."""

    config: EdgeConfig
    node: Node

    def _read_limits(self) -> None:
        """Before the node is made. Raises: UsageError."""
        self._configured = limits_of(self.config)
        lay(self.config, operator_limits.read(self.config.data_dir))

    def _lay_limits(self, new: EdgeConfig) -> None:
        """What an operator has set comes before what a new configuration says. Raises: UsageError where a limit cannot be kept."""
        configured = limits_of(new)
        lay(new, operator_limits.read(self.config.data_dir))
        for kind in KEYS:
            self.node.resources.check(kind, limits_of(new)[kind])
        self._configured = configured

    def _files_max(self) -> int | None:
        """How many files the storage may hold open for writing, and as many for reading."""
        most = self.config.resources.max_file_descriptors
        return max(4, most // FILES_SHARES) if most is not None else None

    def _enforce(self) -> None:
        """Have the system hold the process to its limit of open files."""
        most = self.config.resources.max_file_descriptors
        if most is not None:
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
