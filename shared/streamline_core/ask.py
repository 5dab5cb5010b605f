"""Questions that come to a node from afar, and its answers: what the control socket would say of it, in pieces.

Rule: asking changes nothing, and costs little: few questions wait and the rest is dropped, an answer is written while it leaves, and
what leaves in a second is bounded, so that a flood of questions takes nothing from sync. Must not know: MQTT, who asks.
"""

import json

from .answer import WHOLE_DEPTH, health, said, written
from .errors import ProtocolError, UsageError
from .stream import check_node_id
from .utf8 import decode_utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator

    from .codec import Buffer
    from .health import Seen
    from .node import Node

REQUEST_BYTES_MAX = 256
PIECE_BYTES_MAX = 2048
HEAD_BYTES_MAX = 256
ANSWER_BYTES_MAX = 65536
PENDING_MAX = 8  # questions that wait
GAP_MS = 250  # from one answer to the next
BYTES_PER_SEC_MAX = 16384
LIMIT_SHARE = 4  # answers may take so much of sync.bandwidth_limit: a fourth


def read_request(data: "Buffer") -> "tuple[str, str]":
    """(id, operation) of {"id": …, "op": …}; more of it is passed over. Raises ProtocolError."""
    if len(data) > REQUEST_BYTES_MAX:
        raise ProtocolError("a request has at most %d bytes, not %d" % (REQUEST_BYTES_MAX, len(data)))
    try:
        said = json.loads(decode_utf8(data))
    except ValueError:
        raise ProtocolError("a request is JSON")
    id, op = (said.get("id"), said.get("op")) if isinstance(said, dict) else (None, None)
    try:
        check_node_id(id)  # what is safe as a node's name is safe in an answer
    except UsageError:
        raise ProtocolError("a request has an id of 1 to 64 letters, digits, '.', '_' and '-'")
    if not isinstance(id, str) or not isinstance(op, str):
        raise ProtocolError("a request names an operation")
    return id, op


class Answers:
    """node: whose, open. own: {operation: what answers it} where the shell has more to say than the core. piece_bytes: the longest message
    that its carrier takes. seen: of an earlier one, what its health had seen.

    refused: questions that could not be read; dropped: that were too many.
    """

    def __init__(
        self,
        node: "Node",
        own: "dict[str, Callable[[], Any]]",
        piece_bytes: int = PIECE_BYTES_MAX,
        seen: "Seen | None" = None,
    ) -> None:
        self.refused = 0
        self.dropped = 0
        self.seen = seen
        self._node = node
        self._own = own
        self._piece_bytes = min(PIECE_BYTES_MAX, piece_bytes)
        self._pending: "list[tuple[str, str]]" = []
        self._pieces: "Iterator[bytes] | None" = None
        self._due_ms = 0

    def receive(self, data: "Buffer") -> None:
        """A question came. Whatever it holds, the node goes on."""
        if len(self._pending) >= PENDING_MAX:
            self.dropped += 1
            return
        try:
            self._pending.append(read_request(data))
        except ProtocolError:
            self.refused += 1  # to whom should that be said?

    def clear(self) -> None:
        """Those who asked are out of reach."""
        self._pending = []
        self._pieces = None

    @property
    def answering(self) -> bool:
        """Whether an answer has begun, and not ended."""
        return self._pieces is not None

    def deadline_ms(self) -> int:
        """When `next_piece` has something to say (monotonic ms), -1 for never."""
        return self._due_ms if self._pending or self._pieces is not None else -1

    def next_piece(self, now_ms: int) -> "bytes | None":
        """The next message to publish; None if nothing may leave now."""
        if now_ms < self._due_ms:
            return None
        if self._pieces is None:
            if not self._pending:
                return None
            self._pieces = self._answer(*self._pending.pop(0))
        for piece in self._pieces:
            self._due_ms = now_ms + len(piece) * 1000 // self._bytes_per_sec()
            self._node.link.pacing.spent(len(piece))
            return piece
        self._pieces = None
        self._due_ms = now_ms + GAP_MS
        return None

    def _bytes_per_sec(self) -> int:
        limit = self._node.link.pacing.bandwidth_limit
        return max(1, min(BYTES_PER_SEC_MAX, limit // LIMIT_SHARE)) if limit else BYTES_PER_SEC_MAX

    def _answer(self, id: str, op: str) -> "Iterator[bytes]":
        """Its pieces: each a line of JSON about it, then as much of the answer as goes with it; of an error, its text."""
        room = min(self._piece_bytes, max(2 * HEAD_BYTES_MAX, self._bytes_per_sec())) - HEAD_BYTES_MAX
        text, n = b"", 0
        try:
            for part in written({op: self._said(op)}, WHOLE_DEPTH):
                text += part.encode()
                while len(text) > room:
                    if (n + 1) * room > ANSWER_BYTES_MAX:
                        raise UsageError("the answer is longer than %d bytes; ask on the node itself" % ANSWER_BYTES_MAX)
                    yield _head(id, n, False) + text[:room]
                    text, n = text[room:], n + 1
            yield _head(id, n, True) + text
        except Exception as error:  # whatever was asked, it must not end the node, and must be answered
            known = isinstance(error, UsageError)
            what = str(error) if known else "%s: %s" % (type(error).__name__, error)
            if isinstance(error, MemoryError):
                what = "no memory for this answer now; ask again"
            yield _head(id, n, True, "usage" if known else "other") + what.encode()[:room]

    def _said(self, op: str) -> "Any":
        if op == "health" and op not in self._own:
            report, self.seen = health(self._node, said(self._node, "status", self._own), self.seen)
            return report
        return said(self._node, op, self._own)


def _head(id: str, n: int, last: bool, error: str = "") -> bytes:
    text = '{"id": "%s", "piece": %d, "last": %s' % (id, n, "true" if last else "false")
    return (text + (', "error": "%s"}\n' % error if error else "}\n")).encode()
