"""Whether `sync.condition` holds: a file that is there, or a command that ends well; looked at every few seconds.

Rule: what cannot be looked at does not hold, and the log says why, once. A command gets no shell, no input, and not for ever.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("streamline.condition")

LOOK_SECS = 5.0
COMMAND_SECS_MAX = 10.0
SAID_BYTES_MAX = 64
NO_WORDS = (b"0", b"no", b"off", b"false")


class Condition:
    """text: as the configuration has it. on_look: told after each look whether it holds."""

    def __init__(self, text: str, on_look: Callable[[bool], None]) -> None:
        self._kind, _, self._what = text.partition(":")
        self._on_look = on_look
        self._task: asyncio.Task[None] | None = None
        self._complained = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._on_look(await self.holds())
            await asyncio.sleep(LOOK_SECS)

    async def holds(self) -> bool:
        """Look now."""
        try:
            if self._kind == "command":
                return await self._command()
            return self._file() != (self._kind == "no file")
        except (OSError, ValueError) as e:  # a quote that is not closed is a ValueError
            if not self._complained:
                log.warning("sync.condition %s:%s does not hold: %s", self._kind, self._what, e)
                self._complained = True
            return False

    def _file(self) -> bool:
        try:
            with Path(self._what).open("rb") as file:
                return file.read(SAID_BYTES_MAX).strip().lower() not in NO_WORDS
        except FileNotFoundError:
            return False

    async def _command(self) -> bool:
        nothing = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*shlex.split(self._what), stdin=nothing, stdout=nothing, stderr=nothing)
        try:
            return await asyncio.wait_for(process.wait(), COMMAND_SECS_MAX) == 0
        except TimeoutError:
            raise OSError(f"it did not end within {COMMAND_SECS_MAX:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
