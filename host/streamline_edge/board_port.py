"""A board at the end of a port, by mpremote: what it is, files put onto it, a reset, and what it says afterwards.

Rule: what is secret travels in files, never on a command line and never to the screen; a file takes its name on the board only when it is
there whole; whoever interrupts an agent starts it again. Must not know: what is in the files.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from streamline_core.errors import UsageError

from .board_facts import SNIPPET, BoardFacts

BAUD = 115200
COMMAND_SECS = 60
ENDS_SECS = 12  # of an agent that is interrupted
AGAIN_SECS = 4  # it has ended long before, or it was just being started anew and has not heard
READ_SECS = 0.1
LINE_BYTES_MAX = 4096
REOPEN_SECS = 0.2
RESTART_SECS = 1.0  # the reset is on its way by then
NEW = ".new"
INTERRUPT, LEAVE_RAW = b"\r\x03", b"\r\x02"
RESET_WORDS, PROMPT, RAW_PROMPT = b"machine.reset()", b">>> ", b"\n>"
RESET = b"import machine\r" + RESET_WORDS + b"\r"
# A file with MARK in its name is of one configuration, which names it so: of the next one it is another file.
MARK, MARK_CHARS = "~", 8
# Runs on MicroPython: what was left behind of earlier configurations goes, and what never got its name.
TIDY = """
def _():
    import os
    try:
        with open({config!r}) as file:
            kept = file.read()
    except OSError:
        kept = ''
    for name in os.listdir('/'):
        mark = name.rpartition({mark!r})[2].split('.')[0]
        marked = {mark!r} in name and len(mark) == {chars} and all([c in '0123456789abcdef' for c in mark])
        if (marked or name == {config!r}[1:] + {new!r}) and name not in kept:
            try:
                os.remove('/' + name)
            except OSError:
                pass
_()
del _
"""


def marked(name: str, mark: str) -> str:
    """The name of a file that only one configuration knows. mark: MARK_CHARS hexadecimal digits."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}{MARK}{mark}.{suffix}" if dot and stem else f"{name}{MARK}{mark}"


class BoardPort:
    """port: as pyserial and mpremote call it: /dev/ttyACM0, COM3, socket://HOST:PORT, rfc2217://HOST:PORT. Everything raises UsageError
    where mpremote is not there, or the board does not answer: with what it said."""

    def __init__(self, port: str) -> None:
        if importlib.util.find_spec("mpremote") is None:
            raise UsageError("mpremote is missing: pip install 'streamline-edge[flash]' (or mpremote)")
        self.port = port
        self._interrupted = False

    def _mpremote(self, *words: str) -> str:
        """`resume`: a board that is reset here would start its agent anew; Ctrl-C ends it."""
        command = [sys.executable, "-m", "mpremote", "connect", self.port, "resume", *words]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=COMMAND_SECS, check=False
            )
        except subprocess.TimeoutExpired:
            raise UsageError(f"{self.port}: no answer for {COMMAND_SECS} s; is that a board with MicroPython?") from None
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise UsageError(f"{self.port}: {said[-1].removeprefix('mpremote: ') if said else 'mpremote failed and does not say why'}")
        return done.stdout

    @contextmanager
    def held(self) -> Iterator[BoardFacts]:
        """What it is. Its agent has ended within the block; however that ends, whatever ran before runs again, unless `reset` has seen to
        it."""
        try:
            self.interrupt()
            yield BoardFacts.read(self._mpremote("exec", SNIPPET))
        except BaseException:
            if self._interrupted:
                with suppress(UsageError):  # the first error says why
                    self.restart()
            raise
        if self._interrupted:
            self.restart()

    def interrupt(self) -> None:
        """Ctrl-C, and time for the agent to end in order: mpremote goes on at once, and what it sends meanwhile may get lost."""
        stream, said, deadline = self._open(0), b"", time.monotonic() + ENDS_SECS
        self._interrupted, again = True, 0.0
        try:
            while time.monotonic() < deadline and not said.endswith((PROMPT, RAW_PROMPT)):
                if time.monotonic() >= again:
                    stream.write(INTERRUPT)
                    again = time.monotonic() + AGAIN_SECS
                said = (said + stream.read(256))[-LINE_BYTES_MAX:]
        except OSError:
            pass  # mpremote will say what is wrong
        finally:
            stream.close()

    def put(self, files: Sequence[tuple[str, Path]]) -> None:
        """Copy each (path on the board, file here); they take their names when all are there, in this order. The last is the
        configuration: then what only earlier ones have named is removed."""
        tidy = TIDY.format(config=files[-1][0], mark=MARK, chars=MARK_CHARS, new=NEW)
        self._mpremote("exec", tidy)  # of one that was cut off
        for name, path in files:
            self._mpremote("fs", "cp", str(path), f":{name}{NEW}")
        lines = ["import os", *[f"os.rename({name + NEW!r}, {name!r})" for name, _ in files], "if hasattr(os, 'sync'): os.sync()"]
        self._mpremote("exec", "\n".join(lines) + tidy)

    def restart(self) -> None:
        """Start it anew, and do not wait for what it says."""
        for _ in self.reset(RESTART_SECS):
            pass

    def reset(self, secs: float) -> Iterator[str]:
        """Start it anew, and yield each line that it says within that many seconds. A port that goes away with the reset, as USB does, is
        waited for."""
        import serial

        deadline = time.monotonic() + secs
        stream, rest, begun = self._open(deadline), b"", False
        try:
            stream.write(INTERRUPT + LEAVE_RAW)
            time.sleep(REOPEN_SECS)
            stream.reset_input_buffer()
            stream.write(RESET)
            self._interrupted = False
            while time.monotonic() < deadline:
                try:
                    rest += stream.read(256)
                except (serial.SerialException, OSError):
                    stream.close()
                    time.sleep(REOPEN_SECS)
                    stream = self._open(deadline)
                *lines, rest = rest.replace(b"\r", b"").split(b"\n")
                rest = rest[-LINE_BYTES_MAX:]
                for line in lines:
                    if begun:
                        yield line.decode(errors="replace")
                    begun = begun or RESET_WORDS in line
                if begun and rest == PROMPT:  # whatever ran has ended
                    return
        finally:
            stream.close()

    def _open(self, deadline: float) -> Any:
        import serial

        while True:
            try:
                return serial.serial_for_url(self.port, BAUD, timeout=READ_SECS)
            except ValueError as error:  # no such kind of URL
                raise UsageError(f"--port {self.port}: {error}; it may be /dev/ttyACM0, COM3, socket://HOST:PORT") from None
            except (serial.SerialException, OSError) as error:
                if time.monotonic() >= deadline:
                    raise UsageError(f"{self.port}: cannot be opened: {error}") from None
                time.sleep(REOPEN_SECS)
