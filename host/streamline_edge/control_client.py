"""The other side of the control socket, without an event loop: what the command line uses, so that it starts fast.

Rule: blocking, one thread, every wait bounded unless the caller follows a stream. An agent that is not there is
NoAgent, an error that it reports is AgentError.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from typing import Any

from streamline_core.errors import StreamlineError

from . import control_wire
from .control_wire import Header

ANSWER_SECS_MAX = 30.0
CONNECT_SECS_MAX = 5.0


class NoAgent(StreamlineError):
    """Nobody answers at the socket, or the agent went away."""


class AgentError(StreamlineError):
    """The agent refused. `kind`: usage, queue_full, storage_full, protocol, full, other, internal."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


class ControlClient:
    """A connection to the agent of a data directory. starter: the command that starts it, for who finds none there. Raises: NoAgent,
    UsageError (path too long)."""

    def __init__(self, data_dir: str, answer_secs: float | None = ANSWER_SECS_MAX, starter: str | None = None) -> None:
        path = control_wire.socket_path(data_dir)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(CONNECT_SECS_MAX)
        try:
            self.socket.connect(path)
        except OSError as e:
            self.socket.close()
            starter = starter or f"streamline --edge --data-dir {shlex.quote(data_dir)}"
            raise NoAgent(f"no agent answers in {data_dir} ({e.strerror or e}); start one with: {starter}") from None
        self.socket.settimeout(answer_secs)
        self._received = bytearray()
        self._id = 0

    def close(self) -> None:
        self.socket.close()

    def request(self, op: str, **fields: Any) -> Header:
        """Ask and wait for the answer. Raises: NoAgent, AgentError."""
        return self.ask(op, **fields)[0]

    def ask(self, op: str, body: bytes = b"", **fields: Any) -> tuple[Header, bytes]:
        """As `request`, with a body both ways."""
        return self._last(self.send({"op": op, **fields}, body))

    def stream(self, op: str, body: bytes = b"", **fields: Any) -> Iterator[tuple[Header, bytes]]:
        """Ask, and give each piece of the answer. Raises: NoAgent, AgentError."""
        id = self.send({"op": op, **fields}, body)
        while True:
            answer, body = self._answer(id)
            if not answer.get("more"):
                return
            yield answer, body

    def send(self, header: Header, body: bytes = b"") -> int:
        """Send a request, do not wait; returns its id. Raises: NoAgent."""
        self._id += 1
        try:
            self.socket.sendall(control_wire.pack({**header, "id": self._id}, body))
        except OSError as e:
            self._last_words()
            raise NoAgent(f"the agent went away ({e.strerror or e})") from None
        return self._id

    def _last_words(self) -> None:
        """An agent that takes no more connections says so before it closes this one. Raises: AgentError."""
        try:
            said, _ = self.receive()
        except NoAgent:
            return
        if "error" in said:
            raise AgentError(str(said["error"]), str(said.get("kind")))

    def receive(self) -> tuple[Header, bytes]:
        """The next message, whatever request it answers. Raises: NoAgent."""
        while True:
            message = self.take()
            if message is not None:
                return message
            self.fill()

    def fill(self) -> None:
        """Read once. Raises: NoAgent."""
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            raise NoAgent(f"the agent did not answer within {self.socket.gettimeout():.0f} s; see its log") from None
        except OSError as e:
            raise NoAgent(f"the agent went away ({e.strerror or e})") from None
        if not data:
            raise NoAgent("the agent went away")
        self._received += data

    def take(self) -> tuple[Header, bytes] | None:
        """A whole message out of what was read, or None. Raises: ProtocolError."""
        received = self._received
        at = control_wire.PREFIX_BYTES
        if len(received) < at:
            return None
        header_bytes, body_bytes = control_wire.lengths(bytes(received[:at]))
        end = at + header_bytes + body_bytes
        if len(received) < end:
            return None
        header = control_wire.read_header(bytes(received[at : at + header_bytes]))
        body = bytes(received[at + header_bytes : end])
        del received[:end]
        return header, body

    def _answer(self, id: int) -> tuple[Header, bytes]:
        while True:
            header, body = self.receive()
            if header.get("id") not in (id, 0):
                continue  # the rest of a stream that nobody reads any more
            if "error" in header:
                raise AgentError(str(header["error"]), str(header.get("kind")))
            return header, body

    def _last(self, id: int) -> tuple[Header, bytes]:
        while True:
            header, body = self._answer(id)
            if not header.get("more"):
                return header, body
