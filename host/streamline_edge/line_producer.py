"""Lines of standard input as records, each stored once, however often the agent or this program is killed.

Rule: a line's identity is (producer name, partition, count of lines before it in that partition), and depends on the
input alone. A line is done when the agent has answered that it is durable; what is unanswered when a connection dies is
sent again, in order, and the agent knows what it has. Blocking, one thread.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import random
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import ujson

from streamline_core.errors import UsageError
from streamline_core.producers import ANONYMOUS

from .control_client import AgentError, ControlClient, NoAgent

BATCH_LINES_MAX = 1000
BATCH_BYTES_MAX = 256 << 10
LINE_BYTES_MAX = 1 << 20
IDLE_SECS = 0.05
IN_FLIGHT_MAX = 8
READ_BYTES = 256 << 10
RETRY_SECS = (0.05, 2.0)
NOTE_SECS = 2.0  # between two notes about connecting
START_SECS_MAX = 10.0  # for the first connection; once there was one, an agent is waited for without end
_PASSING = ("queue_full", "storage_full", "full")


class _Request:
    def __init__(self, header: dict[str, Any], body: bytes, lines: int) -> None:
        self.header, self.body, self.lines = header, body, lines
        self.id = 0
        self.sent = 0


class _Partition:
    """sequence: of the next line that comes. stored: sequences up to this one were there when we began."""

    def __init__(self, number: int, stored: int) -> None:
        self.number, self.stored = number, stored
        self.sequence = 0
        self.first = 0  # sequence of values[0]
        self.values: list[bytes] = []
        self.keys: list[bytes] = []
        self.bytes = 0


def producer_id(name: str | None) -> int:
    """The number for a producer's name, below 2^62; a random one without, which a log forgets before any named one."""
    if name is None:
        return int.from_bytes(os.urandom(8), "big") % ANONYMOUS | ANONYMOUS
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % ANONYMOUS or 1


class LineProducer:
    """connect: makes a connection, raises NoAgent. key: one for all lines; key_field: of each line's JSON object, which
    gives its key. note: told in one line what goes on. ack: what a line waits for, one of `control_records.ACKS`."""

    def __init__(
        self,
        connect: Callable[[], ControlClient],
        topic: str,
        name: str | None,
        key: bytes | None,
        key_field: str | None,
        note: Callable[[str], None],
        ack: str = "durable",
    ) -> None:
        self._connect = connect
        self._topic = topic
        self._named = name is not None
        self._producer = producer_id(name)
        self._key, self._key_field = key, key_field
        self._keyed = key is not None or key_field is not None
        self._note = note
        self._ack = ack
        self._lines_max, self._bytes_max = BATCH_LINES_MAX, BATCH_BYTES_MAX  # of a request
        self._client: ControlClient | None = None
        self._partitions: list[_Partition] = []
        self._unanswered: deque[_Request] = deque()
        self._wait_secs = RETRY_SECS[0]  # grows until an answer comes
        self._noted_at = -NOTE_SECS
        self._error: AgentError | None = None
        self.lines = 0
        self.stored = 0
        self.repeats = 0

    def run(self, fd: int) -> None:
        """Store each line of the file descriptor.

        Returns when all are durable. Raises: NoAgent, AgentError, UsageError.
        """
        self._begin()
        rest, ended = b"", False
        while self._unanswered or not (ended or self._error is not None):
            reading = not ended and self._error is None and len(self._unanswered) < IN_FLIGHT_MAX
            ready = self._wait([fd] if reading else [], IDLE_SECS if any(p.values for p in self._partitions) else None)
            if fd in ready:
                data = os.read(fd, READ_BYTES)
                ended = not data
                *whole, rest = (rest + data).split(b"\n")
                if ended and rest:
                    whole.append(rest)
                try:
                    self._take(whole)
                    if len(rest) > LINE_BYTES_MAX:
                        raise UsageError(f"line {self.lines + 1} is longer than {LINE_BYTES_MAX} bytes; cut it up")
                except UsageError:
                    self._drain()  # the lines before the bad one are good
                    raise
            if (ended or not ready) and self._error is None:
                for partition in self._partitions:
                    self._flush(partition)
        if self._error is not None:
            raise self._error

    def _drain(self) -> None:
        for partition in self._partitions:
            self._flush(partition)
        while self._unanswered:
            self._wait([], None)

    # Lines to requests.

    def _take(self, lines: list[bytes]) -> None:
        if not self._keyed and len(self._partitions) == 1:
            partition = self._partitions[0]
            self.lines += len(lines)
            skip = min(len(lines), max(0, partition.stored + 1 - partition.sequence))
            self.repeats += skip
            partition.sequence += skip
            for line in lines[skip:]:
                self._add(partition, line, None)
            return
        count = len(self._partitions)
        for line in lines:
            key = self._key_of(line)
            n = binascii.crc32(key) % count if key is not None else self.lines // BATCH_LINES_MAX % count
            partition = self._partitions[n]
            self.lines += 1
            if partition.sequence <= partition.stored:
                partition.sequence += 1
                self.repeats += 1
            else:
                self._add(partition, line, key)

    def _add(self, partition: _Partition, line: bytes, key: bytes | None) -> None:
        if partition.values and partition.bytes + len(line) + len(key or b"") > self._bytes_max:
            self._flush(partition)
        if not partition.values:
            partition.first = partition.sequence
        partition.values.append(line)
        partition.bytes += len(line)
        if key is not None:
            partition.keys.append(key)
            partition.bytes += len(key)
        partition.sequence += 1
        if partition.bytes >= self._bytes_max or len(partition.values) >= self._lines_max:
            self._flush(partition)

    def _key_of(self, line: bytes) -> bytes | None:
        if self._key_field is None:
            return self._key
        try:
            value = ujson.loads(line)[self._key_field]
            return value.encode() if isinstance(value, str) else ujson.dumps(value).encode()
        except (ValueError, KeyError, TypeError, IndexError, OverflowError):  # half a surrogate pair, NaN, lists in lists in lists
            raise UsageError(
                f"line {self.lines + 1} is no JSON object with the field {self._key_field!r}; those before are stored"
            ) from None

    def _flush(self, partition: _Partition) -> None:
        if not partition.values or self._error is not None:
            return
        header = {
            "op": "produce",
            "topic": self._topic,
            "partition": partition.number,
            "producer": self._producer,
            "sequence": partition.first,
            "sizes": list(map(len, partition.values)),
        }
        if self._ack != "durable":
            header["ack"] = self._ack
        if self._keyed:
            header["key_sizes"] = list(map(len, partition.keys))
        request = _Request(header, b"".join(partition.values + partition.keys), len(partition.values))
        partition.values, partition.keys, partition.bytes = [], [], 0
        while len(self._unanswered) >= IN_FLIGHT_MAX:
            self._wait([], None)
        if self._error is not None:
            return
        self._unanswered.append(request)
        try:
            self._send(request)
        except NoAgent as e:
            self._again(str(e))

    # Requests and answers.

    def _wait(self, fds: list[int], secs: float | None) -> list[int]:
        """Take answers until one of `fds` can be read, `secs` are over, or an answer came.

        Returns the fds that can be read.
        """
        assert self._client is not None
        answers = self._client.socket.fileno()
        ready, _, _ = select.select([*fds, answers], [], [], secs)
        if answers in ready:
            try:
                self._client.fill()
                while self._client is not None and (message := self._client.take()) is not None:
                    self._answered(message[0])
            except NoAgent as e:
                self._again(str(e))
        return [*filter(lambda fd: fd in ready, fds)] or ([-1] if ready else [])

    def _answered(self, answer: dict[str, Any]) -> None:
        if "error" in answer:
            if answer.get("kind") in _PASSING:
                raise NoAgent(f"the agent cannot take more now: {answer['error']}")
            self._refused(answer)
            return
        if not self._unanswered or answer.get("id") != self._unanswered[0].id:
            # Files of two partitions may be synced in another order.
            request = next((r for r in self._unanswered if r.id == answer.get("id")), None)
            if request is None:
                return
            self._unanswered.remove(request)
        else:
            request = self._unanswered.popleft()
        self._wait_secs = RETRY_SECS[0]
        repeats = 0 if request.sent > 1 else int(answer["repeats"])
        self.repeats += repeats
        self.stored += request.lines - repeats

    def _refused(self, answer: dict[str, Any]) -> None:
        """Those sent before it will still be answered; what came after it would leave a hole and is given up."""
        request = next((r for r in self._unanswered if r.id == answer.get("id")), None)
        if request is None or self._error is not None:
            return
        header, first = request.header, request.header["sequence"] + 1
        where = f"lines {first} to {first + request.lines - 1}"
        if len(self._partitions) > 1:
            where += f" of partition {header['partition']}"
        self._error = AgentError(f"{answer['error']} ({where})", str(answer.get("kind")))
        self._unanswered = deque(r for r in self._unanswered if r.id < request.id)
        for partition in self._partitions:
            partition.values, partition.keys, partition.bytes = [], [], 0

    def _send(self, request: _Request) -> None:
        assert self._client is not None
        request.sent += 1
        request.id = self._client.send(request.header, request.body)

    # Connections.

    def _begin(self) -> None:
        give_up, wait_secs = time.monotonic() + START_SECS_MAX, RETRY_SECS[0]
        while True:
            try:
                client = self._client = self._connect()
                answer = client.request("topics")
                topics = {row["topic"]: row for row in answer["topics"]}
                if self._topic not in topics:
                    known = ", ".join(sorted(topics)) or "none"
                    raise UsageError(f"unknown topic {self._topic!r}; known are: {known}; add it to sync_topics")
                topic = topics[self._topic]
                if topic["kind"] == "keyed" and not self._keyed:
                    raise UsageError(f"topic {self._topic} is keyed: say which key with --key or --key-field, or use edge set")
                self._partitions = [_Partition(n, self._last(client, n)) for n in range(topic["partitions"])]
                takes = answer.get("takes") or {}  # of a node with little memory
                self._lines_max = min(BATCH_LINES_MAX, int(takes.get("records", BATCH_LINES_MAX)))
                self._bytes_max = min(BATCH_BYTES_MAX, int(takes.get("bytes", BATCH_BYTES_MAX)))
                client.socket.settimeout(None)
                return
            except (NoAgent, AgentError) as e:
                if time.monotonic() > give_up or (isinstance(e, AgentError) and e.kind not in _PASSING):
                    raise
                if self._client is not None:
                    self._client.close()
                if wait_secs == RETRY_SECS[0]:
                    self._note(f"{e}; trying for {START_SECS_MAX:.0f} s")
                time.sleep(wait_secs)
                wait_secs = min(RETRY_SECS[1], wait_secs * 2)

    def _last(self, client: ControlClient, partition: int) -> int:
        if not self._named:
            return -1
        fields = {"topic": self._topic, "partition": partition, "producer": self._producer}
        return int(client.request("producer_last", **fields)["last"])

    def _again(self, why: str) -> None:
        """Connect anew and send all that was not answered, in order."""
        now = time.monotonic()
        if now - self._noted_at > NOTE_SECS:
            self._noted_at = now
            self._note(f"{why}; {self.stored} lines are stored, connecting again")
        while True:
            if self._client is not None:
                self._client.close()
            time.sleep(random.uniform(self._wait_secs / 2, self._wait_secs))
            self._wait_secs = min(RETRY_SECS[1], self._wait_secs * 2)
            try:
                self._client = self._connect()
                self._client.socket.settimeout(None)
                for request in self._unanswered:
                    self._send(request)
                return
            except NoAgent:
                continue
