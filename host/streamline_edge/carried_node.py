"""A board that reaches the cloud through this host: what comes of its serial line goes to its own topics, and back.

Rule: a board at the end of a line is to the broker what a node with a network is: a connection, a birth and a death of its own. It is
online while it is heard. What is in frames, questions and answers is not looked at. Must not know: how packets travel on a line.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from typing import TYPE_CHECKING, Any

from streamline_core import serial_packets as packets
from streamline_core.errors import ProtocolError, UsageError
from streamline_core.stream import check_node_id
from streamline_host.broker_url import BrokerUrl, read_password

from .node_link import NodeLink
from .serial_line import SerialLine

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig, LineConfig
    from streamline_core.serial_packets import Greeting

log = logging.getLogger("streamline.serial")

UNSENT_BYTES_MAX = 262144
"""To the broker; beyond it, frames of the board are dropped."""
TURN_SECS = 1.0
PROBLEM_SECS = 60.0
"""A line that carries nothing for so long is no well one."""
CONNECTION_MAX = (1 << 30) - 1  # a small number on every board


class CarriedLine:
    """A line of the configuration, and the board at its end while one is heard. lines: all of this host, in which no node is carried twice.

    Raises UsageError where the password file is of no use.
    """

    def __init__(self, config: EdgeConfig, entry: LineConfig, lines: list[CarriedLine]) -> None:
        self._config = config
        self._entry = entry
        self._lines = lines
        self._url = _url_of(config, entry)
        self.line = SerialLine(entry.port, entry.baud, self._packet, self._opened, self._closed)
        self.node_id: str | None = None  # whose greeting was taken
        self.frames_in = self.frames_out = self.dropped = 0
        self._greeting: Greeting | None = None
        self._refusal = ""  # why the one that greets is not carried
        self._link: NodeLink | None = None
        self._up = False
        self._number = int.from_bytes(os.urandom(4), "big") % CONNECTION_MAX
        self._hub: tuple[bool, str] | None = None
        self._heard_at = 0.0
        self._state_at = 0.0
        self._carries_not_at: float | None = None  # since when
        self._timer: asyncio.TimerHandle | None = None
        self._farewells: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, config: EdgeConfig) -> list[CarriedLine]:
        """One for each line of the configuration. Raises UsageError."""
        lines: list[CarriedLine] = []
        lines.extend(cls(config, entry, lines) for entry in config.serial)
        return lines

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._carries_not_at = self._loop.time()
        self.line.start()
        self._turn()

    async def stop(self) -> None:
        """The board's death is published, and the device closed."""
        if self._timer is not None:
            self._timer.cancel()
        self._leave("the gateway stops")
        self._say_state()
        await asyncio.gather(*self._farewells, return_exceptions=True)
        await self.line.stop()

    @property
    def problem(self) -> str:
        """What keeps a board from being carried for more than a while, or nothing."""
        if self._carries_not_at is None or self._loop.time() - self._carries_not_at < PROBLEM_SECS:
            return ""
        return f"serial {self.line.port}: {self._state()}: {self._reason()}"

    def status(self) -> dict[str, Any]:
        line = self.line
        return {
            "port": line.port,
            "baud": line.baud,
            "node": self.node_id or self._entry.node_id,
            "state": self._state(),
            "reason": self._reason(),
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "bytes_in": line.bytes_in,
            "bytes_out": line.bytes_out,
            "refused": line.refused,
            "dropped": self.dropped + line.dropped_in + line.dropped_out,
        }

    def _state(self) -> str:
        """One of: closed, silent, refused, connecting, carrying."""
        if not self.line.opened:
            return "closed"
        if self._greeting is None:
            return "silent"
        return "refused" if self._refusal else "carrying" if self._up else "connecting"

    def _reason(self) -> str:
        if not self.line.opened:
            return self.line.reason
        if self._refusal:
            return self._refusal
        if self._greeting is None:
            return "nothing is heard of a board"
        return "" if self._up or self._link is None else self._link.down_reason

    # The line.

    def _opened(self) -> None:
        self._say_state()

    def _closed(self, reason: str) -> None:
        self._leave(f"its line {self.line.port} is closed: {reason}")

    def _packet(self, kind: int, payload: bytes) -> None:
        if kind == packets.GREETING:
            try:
                greeting = packets.decode_greeting(payload)
            except ProtocolError as error:
                log.debug("serial %s: %s", self.line.port, error)
                return
            self._heard_at = self._loop.time()
            self._greeted(greeting)
        elif self._greeting is not None and self._link is not None:  # else it is of a board that did not say who it is
            self._heard_at = self._loop.time()
            if kind in (packets.FRAME, packets.SAY):
                self._publish(kind, payload)

    def _publish(self, kind: int, payload: bytes) -> None:
        link = self._link
        if link is None or not self._up or link.mqtt.unsent_bytes + len(payload) > UNSENT_BYTES_MAX:
            self.dropped += 1
        elif kind == packets.FRAME:
            self.frames_in += 1
            link.publish_frame(payload)
        else:
            link.publish_piece(payload)

    def _greeted(self, said: Greeting) -> None:
        known = self._greeting
        same = known is not None and (said.life, said.node_id, said.fleet) == (known.life, known.node_id, known.fleet)
        if same and not self._refusal:
            return
        refusal = self._why_not(said)
        if refusal and refusal != self._refusal:
            log.error("serial %s: %s", self.line.port, refusal)
        elif same and refusal:
            return
        if refusal or known is None or said.node_id != self.node_id:
            self._leave("another board greets")
        self._refusal, self._greeting = refusal, said
        self.line.forget()
        if not refusal:
            self.node_id = said.node_id
            if self._link is None:
                self._join(said.node_id)
                log.info("serial %s: carries node %s", self.line.port, said.node_id)
            elif self._up:
                self._number = self._number % CONNECTION_MAX + 1  # another life of the board knows nothing of the hub yet
        self._say_state()

    def _why_not(self, said: Greeting) -> str:
        """Why a board that greets is not carried, or nothing."""
        config, entry = self._config, self._entry
        if said.version != packets.LINE_VERSION:
            return f"the board speaks version {said.version} of the line's protocol, and this build {packets.LINE_VERSION}"
        try:
            check_node_id(said.node_id)
        except UsageError as error:
            return f"the board's {error}"
        if said.node_id == config.node_id:
            return f"the board calls itself {said.node_id}, and so does this node; give it a node_id of its own"
        if entry.node_id is not None and said.node_id != entry.node_id:
            return f"node {said.node_id} greets, and only {entry.node_id} may (serial: node_id)"
        if said.fleet != config.fleet:
            return f"node {said.node_id} is of fleet {said.fleet}, and this node of {config.fleet}; set one fleet"
        for other in self._lines:
            if other is not self and other.node_id == said.node_id and other._link is not None:
                return f"node {said.node_id} is carried by {other.line.port} already; give each board a node_id of its own"
        return ""

    def _turn(self) -> None:
        """Each second or so: say the state when it is due, and see whether the board still lives."""
        now = self._loop.time()
        if self._greeting is not None and now - self._heard_at > packets.SILENT_MS / 1000:
            secs = packets.SILENT_MS // 1000
            log.warning("serial %s: nothing was heard of node %s for %d s", self.line.port, self._greeting.node_id, secs)
            self._leave("nothing is heard of it")
            self._say_state()
        elif now - self._state_at >= packets.STATE_MS / 1000 - TURN_SECS / 2:
            self._say_state()
        self._timer = self._loop.call_later(TURN_SECS, self._turn)

    def _say_state(self) -> None:
        if self._up:
            self._carries_not_at = None
        elif self._carries_not_at is None:
            self._carries_not_at = self._loop.time()
        self._state_at = self._loop.time()
        online, boot = self._hub if self._hub is not None and self._up else (None, "")
        life = self._greeting.life if self._greeting is not None else 0
        said = packets.LineState(life, self._number if self._up else 0, "" if self._up else self._reason(), online, boot)
        self.line.send_state(packets.STATE, packets.encode_state(said))

    # The broker.

    def _join(self, node_id: str) -> None:
        retry = self._config.sync.retry
        url = dataclasses.replace(self._url, username=node_id) if self._url.password is not None else self._url
        self._link = NodeLink(
            url,
            self._config.fleet,
            node_id,
            (retry.initial_ms / 1000, retry.max_ms / 1000),
            on_frame=self._frame,
            on_ask=self._ask,
            on_hub=self._hub_said,
            on_up=self._link_up,
            on_down=self._link_down,
            on_retry=lambda reason: self._say_state(),
        )
        self._link.start()

    def _leave(self, why: str) -> None:
        """The board is not there: it dies at the broker, and has to greet again."""
        self._greeting, self._refusal, self._hub = None, "", None
        self._up = False
        self.line.forget()
        link, self._link = self._link, None
        if link is not None:
            log.info("node %s: %s", self.node_id, why)
            task = self._loop.create_task(link.stop())
            self._farewells.add(task)
            task.add_done_callback(self._farewells.discard)

    def _link_up(self) -> None:
        self._up = True
        self._number = self._number % CONNECTION_MAX + 1
        log.info("node %s: connected to %s", self.node_id, self._url)
        self._say_state()

    def _link_down(self, reason: str) -> None:
        self._up, self._hub = False, None
        log.info("node %s: no connection to %s: %s", self.node_id, self._url, reason)
        self.line.forget()
        self._say_state()

    def _hub_said(self, online: bool, boot: str) -> None:
        self._hub = (online, boot)
        self._say_state()

    def _frame(self, payload: bytes) -> None:
        most = self._greeting.payload_bytes_max if self._greeting is not None else 0
        if len(payload) > most:
            self.dropped += 1
        elif self.line.send(packets.FRAME, payload):
            self.frames_out += 1

    def _ask(self, payload: bytes) -> None:
        if len(payload) > packets.CONTROL_BYTES_MAX:
            self.dropped += 1
        else:
            self.line.send(packets.ASK, payload)


def _url_of(config: EdgeConfig, entry: LineConfig) -> BrokerUrl:
    """This node's broker, without this node's own name and password. Raises UsageError."""
    url = BrokerUrl.parse(
        config.cloud_endpoint or "", ca_file=config.ca_file, cert_file=config.cert_file, key_file=config.key_file
    )
    password = read_password(entry.password_file) if entry.password_file is not None else None
    return dataclasses.replace(url, username=None, password=password)
