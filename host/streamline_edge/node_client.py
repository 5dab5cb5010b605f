"""Asking a node of the fleet from afar, through MQTT: what the command line uses with --node, in place of the control socket.

Rule: it only asks; whatever would change something is refused before anything is sent. Every wait is bounded, and so is what an answer may
be. A node that does not answer is NoAgent, with what is known of it. Knows nothing of what answers say.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any

from streamline_core import ask
from streamline_core.answer import OPS
from streamline_core.errors import ProtocolError, UsageError
from streamline_core.stream import check_node_id
from streamline_host.broker_url import BrokerUrl
from streamline_host.mqtt_link import MqttLink

from .commands import only_asks
from .control_client import AgentError, NoAgent

if TYPE_CHECKING:
    from .commands import Arguments

TIMEOUT_SECS = 5.0
OFFLINE_SECS = 1.0  # how long a node that is said to be offline may take to prove the opposite
CONNECT_SECS_MAX = 15.0
STATUS_BYTES_MAX = 1024
PIECES_MAX = 1024


class Answer:
    """What comes of an answer to the question `id`, piece by piece."""

    def __init__(self, id: str) -> None:
        self.error: str | None = None
        self.text = b""
        self.complete = False
        self._id = id
        self._next = 0

    def take(self, data: bytes) -> bool:
        """Whether this was the next piece. Others are passed over: of other questions, and whatever strangers say. Raises: ProtocolError
        for an answer that has a hole or is too long."""
        line, _, text = data.partition(b"\n")
        try:
            head = json.loads(line) if len(line) <= ask.HEAD_BYTES_MAX else None
        except (ValueError, RecursionError):
            return False
        if self.complete or len(data) > ask.PIECE_BYTES_MAX or not isinstance(head, dict) or head.get("id") != self._id:
            return False
        if head.get("piece") != self._next or self._next >= PIECES_MAX or len(self.text) + len(text) > ask.ANSWER_BYTES_MAX:
            raise ProtocolError("the answer has a hole, or is longer than any may be; ask again")
        self._next += 1
        self.complete = head.get("last") is True
        error = head.get("error")
        if error is not None:
            self.error, self.text, self.complete = str(error)[:64], text, True
        else:
            self.text += text
        return True

    def value(self) -> dict[str, Any]:
        """What was said. Raises: AgentError, ProtocolError."""
        if self.error is not None:
            raise AgentError(str(_printable(self.text.decode("utf-8", "replace"))), self.error)
        try:
            value = _printable(json.loads(self.text))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ProtocolError("the answer is not a JSON object; is it a node of Streamline?")
        return value


def _printable(value: Any) -> Any:
    """The same, with nothing in it that could steer a terminal: a stranger may have said it. Raises: RecursionError."""
    if isinstance(value, str):
        return value if value.isprintable() else repr(value)[1:-1]
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return {_printable(name): _printable(item) for name, item in value.items()} if isinstance(value, dict) else value


class NodeClient:
    """Asks `node` of a fleet through a broker. timeout_secs: how long it may take to begin, and to go on. Raises: UsageError."""

    def __init__(self, url: BrokerUrl, fleet: str, node: str, timeout_secs: float = TIMEOUT_SECS) -> None:
        check_node_id(fleet)
        check_node_id(node)
        self._url, self._fleet, self._node, self._timeout_secs = url, fleet, node, timeout_secs
        self._branch = f"streamline/1/{fleet}/n/{node}"
        self._loop = asyncio.new_event_loop()
        self._link: MqttLink | None = None
        self._changed = asyncio.Event()
        self._up = False
        self._reason: str | None = None
        self._online: bool | None = None
        self._answer: Answer | None = None
        self._problem: ProtocolError | None = None
        self._taken_at = 0.0

    def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """Ask and wait for the answer. Raises: UsageError for what is no question, NoAgent, AgentError, ProtocolError."""
        if op not in OPS or fields:
            raise UsageError(only_asks())
        return self._loop.run_until_complete(self._request(op))

    def close(self) -> None:
        if self._link is not None:
            self._loop.run_until_complete(self._link.stop())
            self._link = None
        self._loop.close()

    async def _request(self, op: str) -> dict[str, Any]:
        link = await self._connected()
        id = os.urandom(8).hex()
        answer = self._answer = Answer(id)
        link.publish(f"{self._branch}/ask", json.dumps({"id": id, "op": op}).encode(), qos=1)
        begun = time.monotonic()
        while not answer.complete:
            if self._problem is not None:
                raise self._problem
            if not self._up:
                raise NoAgent(f"the connection to {self._url} was lost: {self._reason}; ask again")
            secs = min(OFFLINE_SECS, self._timeout_secs) if self._online is False else self._timeout_secs
            left = max(begun, self._taken_at) + secs - time.monotonic()
            if left <= 0:
                raise NoAgent(self._silence())
            await self._change(left)
        value = answer.value()
        if op not in value:
            raise ProtocolError(f"the answer says nothing of {op}; is it a node of Streamline?")
        return value

    async def _connected(self) -> MqttLink:
        if self._link is None:
            topics = [(f"{self._branch}/say", 0), (f"{self._branch}/status", 1)]
            self._link = MqttLink(
                self._url,
                f"ask-{os.urandom(6).hex()}",  # whoever else asks is another client
                subscriptions=topics,
                on_message=self._message,
                on_up=self._is_up,
                on_down=self._is_down,
                on_retry=lambda reason, wait_secs: self._is_down(reason),
            )
            self._link.start()
        while not self._up:
            if self._reason is not None or not await self._change(CONNECT_SECS_MAX):
                raise NoAgent(f"no connection to {self._url}: {self._reason or 'no answer'}; give the broker with --endpoint")
        return self._link

    async def _change(self, secs: float) -> bool:
        """Whether something happened within so many seconds."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), secs)
        except TimeoutError:
            return False
        return True

    def _silence(self) -> str:
        """Why there may be no answer, and what to do."""
        if self._online is False:
            return f"{self._node} is offline since its last word; ask again when it is connected"
        if self._online is None:
            where = f"{self._node} in fleet {self._fleet}"
            return f"the broker knows of no node {where}, or may not tell; look at --node, --fleet and the broker's access list"
        return (
            f"{self._node} is connected and does not answer within {self._timeout_secs:g} s; ask again, with a longer --timeout, or see "
            f"whether the broker's access list lets it read …/ask and write …/say"
        )

    def _is_up(self) -> None:
        self._up, self._reason = True, None
        self._changed.set()

    def _is_down(self, reason: str) -> None:
        self._up, self._reason = False, reason
        self._changed.set()

    def _message(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/status"):
            self._online = read_online(payload)
            if self._online is False:
                self._changed.set()
        elif self._answer is not None:
            try:
                if self._answer.take(payload):
                    self._taken_at = time.monotonic()
                    self._changed.set()
            except ProtocolError as problem:
                self._problem = problem
                self._changed.set()


def read_online(payload: bytes) -> bool | None:
    """What a retained status of a node says; None where that cannot be read."""
    try:
        said = json.loads(payload) if len(payload) <= STATUS_BYTES_MAX else None
    except (ValueError, RecursionError):
        said = None
    return said.get("online") is True if isinstance(said, dict) else None


def client(arguments: Arguments) -> NodeClient:
    """As the options say; what they do not say is the configuration's, unless they name a broker: its secrets are for its own broker.
    Raises: UsageError."""
    given = {name: getattr(arguments, name, None) for name in ("endpoint", "fleet", "password_file", "ca_file")}
    if given["endpoint"] is None:
        from . import config_file

        config = config_file.find(getattr(arguments, "config", None)).config
        if config.cloud_endpoint is None:
            raise UsageError("--node: through which broker? Give --endpoint URL, or --config FILE with a cloud_endpoint")
        own = {"endpoint": config.cloud_endpoint, "fleet": config.fleet, "password_file": config.password_file, "ca_file": config.ca_file}
        certificate = {"cert_file": config.cert_file, "key_file": config.key_file}
        given = {name: value if value is not None else own[name] for name, value in given.items()}
    else:
        certificate = {}
    timeout_secs = getattr(arguments, "timeout", TIMEOUT_SECS)
    if not 0 < timeout_secs <= 3600:
        raise UsageError("--timeout: seconds are wanted, more than 0 and at most 3600")
    url = BrokerUrl.parse(str(given["endpoint"]), password_file=given["password_file"], ca_file=given["ca_file"], **certificate)
    return NodeClient(url, given["fleet"] or "default", arguments.node, timeout_secs)
